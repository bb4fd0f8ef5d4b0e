"""The whole model against a second implementation in plain NumPy, float64, one loop per idea."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.config import RequiredFieldMissingError
from axl_exp.model import CausalLM

EPS, THETA = 1e-5, 10000.0


def numpy_params(model):
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def numpy_norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * scale


def numpy_rotated(x, position):
    """x [heads, H] as complex numbers, each turned by its angle."""
    head_dim = x.shape[-1]
    pairs = x[:, 0::2] + 1j * x[:, 1::2]
    turned = pairs * np.exp(1j * position / THETA ** (np.arange(0, head_dim, 2) / head_dim))
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def numpy_attention(x, weights, num_heads, positions, segments):
    """One row, x [S, D], position by position and head by head."""
    qkv = np.einsum("sd,dnh->snh", x, weights["i_proj"]["i_proj"]["qkv_proj"]["weight"])
    num_kv_heads = (qkv.shape[1] - num_heads) // 2
    query, key = qkv[:, :num_heads], qkv[:, num_heads : num_heads + num_kv_heads]
    value = qkv[:, num_heads + num_kv_heads :]
    query = np.stack([numpy_rotated(q, p) for q, p in zip(query, positions, strict=True)])
    key = np.stack([numpy_rotated(k, p) for k, p in zip(key, positions, strict=True)])
    output = np.zeros_like(x)
    for s in range(len(x)):
        seen = [t for t in range(s + 1) if segments[t] == segments[s]]
        for n in range(num_heads):
            kv = n // (num_heads // num_kv_heads)
            logits = np.array([query[s, n] @ key[t, kv] for t in seen]) / np.sqrt(query.shape[-1])
            probabilities = np.exp(logits) / np.exp(logits).sum()
            context = sum(p * value[t, kv] for p, t in zip(probabilities, seen, strict=True))
            output[s] += weights["o_proj"]["weight"][:, n] @ context
    return output


def numpy_logits(params, batch, *, num_layers, num_heads):
    decoder = params["decoder"]
    table = decoder["emb"]["token_emb"]["weight"]
    head = decoder["lm_head"]["weight"] if "lm_head" in decoder else table
    rows = []
    for inputs, positions, segments in zip(
        batch["inputs"], batch["positions"], batch["segment_ids"], strict=True
    ):
        x = table[np.asarray(inputs)]
        for i in range(num_layers):
            layer = jax.tree.map(lambda w, i=i: w[i], decoder["transformer"]["layer"])
            attention, mlp = layer["self_attention"], layer["feed_forward"]
            normed = numpy_norm(x, attention["norm"]["scale"])
            x = x + numpy_attention(normed, attention["attention"], num_heads, positions, segments)
            normed = numpy_norm(x, mlp["norm"]["scale"])
            gate = normed @ mlp["linear1_0"]["weight"]
            hidden = gate / (1 + np.exp(-gate)) * (normed @ mlp["linear1_1"]["weight"])
            x = x + hidden @ mlp["linear2"]["weight"]
        rows.append(numpy_norm(x, decoder["output_norm"]["scale"]) @ head.T)
    return np.stack(rows)


def with_random_scales(model):
    """The scales of norms start at 1, which would hide a forgotten one."""
    rng = np.random.default_rng(1)
    for path, param in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        if path[-1] == "scale":
            param.set_value(jnp.asarray(rng.uniform(0.5, 1.5, param.shape), jnp.float32))
    return model


@pytest.mark.parametrize(("num_kv_heads", "tied_head"), [(1, True), (2, False), (6, True)])
def test_logits_equal_those_of_a_second_implementation(
    model_config, packed_batch, compiled, num_kv_heads, tied_head
):
    cfg = model_config(tied_head=tied_head, num_kv_heads=num_kv_heads)
    model = with_random_scales(cfg.instantiate(rngs=nnx.Rngs(0)))
    expected = numpy_logits(numpy_params(model), packed_batch, num_layers=3, num_heads=6)
    assert np.std(expected) > 0.5
    logits = compiled(lambda batch: model(batch))(packed_batch)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-5)


def test_loss_is_the_mean_over_targets_that_count_and_the_sums_are_its_parts(
    model_config, packed_batch, compiled
):
    # The last place of row 0 is padding; the third target of row 1 is the pad token.
    batch = {**packed_batch, "targets": packed_batch["targets"].at[1, 2].set(0)}
    model = model_config().set(z_loss_scale=1e-2).instantiate(rngs=nnx.Rngs(0))
    logits = numpy_logits(numpy_params(model), batch, num_layers=3, num_heads=6)
    log_sums = np.log(np.exp(logits).sum(-1))
    nats = (
        log_sums - np.take_along_axis(logits, np.asarray(batch["targets"])[..., None], -1)[..., 0]
    )
    counts = np.ones((2, 16))
    counts[0, 15] = counts[1, 2] = 0
    loss, aux = compiled(model.loss)(batch)
    assert int(aux.num_targets) == 30
    assert float(aux.loss_sum) == pytest.approx((nats * counts).sum(), rel=1e-5)
    assert aux.z_loss_sum is not None
    assert float(aux.z_loss_sum) == pytest.approx(1e-2 * (log_sums**2 * counts).sum(), rel=1e-5)
    assert float(loss) == pytest.approx((float(aux.loss_sum) + float(aux.z_loss_sum)) / 30)
    assert int(aux.target_bytes) == (np.asarray(batch["target_bytes"]) * counts).sum()


@pytest.mark.parametrize("z_loss_scale", [None, 0.0])
def test_without_z_loss_there_is_no_sum_of_it(model_config, packed_batch, z_loss_scale):
    model = model_config().set(z_loss_scale=z_loss_scale).instantiate(rngs=nnx.Rngs(0))
    assert jax.eval_shape(model.loss, packed_batch).aux.z_loss_sum is None


def test_without_bytes_in_the_batch_there_is_no_sum_of_them(model_config, packed_batch):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    batch = {name: rows for name, rows in packed_batch.items() if name != "target_bytes"}
    assert jax.eval_shape(model.loss, batch).aux.target_bytes is None


def test_a_batch_of_padding_alone_has_loss_zero(model_config, packed_batch, compiled):
    batch = {**packed_batch, "segment_ids": jnp.zeros((2, 16), jnp.int32)}
    loss, aux = compiled(model_config().instantiate(rngs=nnx.Rngs(0)).loss)(batch)
    assert float(loss) == 0.0 and int(aux.num_targets) == 0


def test_a_document_does_not_see_its_neighbours_in_the_row(model_config, packed_batch, compiled):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    forward = compiled(lambda inputs: model({**packed_batch, "inputs": inputs}))
    before = forward(packed_batch["inputs"])
    changed = forward(packed_batch["inputs"].at[0, 5:12].add(1).clip(0, 63))
    same = np.all(np.asarray(before) == np.asarray(changed), axis=-1)
    assert same[1].all()
    assert same[0].tolist() == [True] * 5 + [False] * 7 + [True] * 4


def test_a_position_does_not_see_what_comes_after_it(model_config, packed_batch, compiled):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    forward = compiled(lambda inputs: model({**packed_batch, "inputs": inputs}))
    before = forward(packed_batch["inputs"])
    changed = forward(packed_batch["inputs"].at[1, 9].set(0))
    same = np.all(np.asarray(before) == np.asarray(changed), axis=-1)
    assert same[1].tolist() == [True] * 9 + [False] * 7


def test_packed_documents_have_the_loss_of_the_same_documents_padded(
    model_config, packed_batch, compiled
):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    spans = [(0, 0, 5), (0, 5, 12), (0, 12, 15), (1, 0, 16)]
    padded = {
        name: jnp.stack(
            [jnp.pad(rows[row, start:end], (0, 16 - end + start)) for row, start, end in spans]
        )
        for name, rows in packed_batch.items()
    }
    packed_sums, padded_sums = (compiled(model.loss)(b).aux for b in (packed_batch, padded))
    assert int(packed_sums.num_targets) == int(padded_sums.num_targets) == 31
    assert float(packed_sums.loss_sum) == pytest.approx(float(padded_sums.loss_sum), rel=1e-6)


def test_bfloat16_parameters_compute_in_bfloat16_and_sum_the_loss_in_float32(
    model_config, packed_batch, compiled
):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    exact = float(compiled(model.loss)(packed_batch).loss)
    graph, params = nnx.split(model, nnx.Param)
    model = nnx.merge(graph, jax.tree.map(lambda p: p.astype(jnp.bfloat16), params))
    assert jax.eval_shape(model, packed_batch).dtype == jnp.bfloat16
    loss, aux = compiled(model.loss)(packed_batch)
    assert aux.loss_sum.dtype == jnp.float32
    assert float(loss) == pytest.approx(exact, rel=2e-2)


def test_two_models_of_one_config_have_equal_graphs_so_that_nothing_compiles_twice(model_config):
    graphs = [nnx.split(model_config().instantiate(rngs=nnx.Rngs(i)))[0] for i in range(2)]
    assert graphs[0] == graphs[1] and hash(graphs[0]) == hash(graphs[1])


def test_sizes_that_are_not_set_are_named():
    with pytest.raises(RequiredFieldMissingError, match="dim, vocab_size"):
        CausalLM.default_config().instantiate(rngs=nnx.Rngs(0))
