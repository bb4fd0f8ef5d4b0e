"""The whole model against a second implementation in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.config import RequiredFieldMissingError
from axl_exp.model import ALiBi, CausalLM, Llama31RotaryScaling, RMSNorm
from tests.model.numpy_model import Options, numpy_logits, numpy_params


def with_random_scales(model):
    """The scales of norms start at 1, which would hide a forgotten one."""
    rng = np.random.default_rng(1)
    for path, param in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        if path[-1] == "scale":
            param.set_value(jnp.asarray(rng.uniform(0.5, 1.5, param.shape), jnp.float32))
    return model


def plain(cfg):
    """A Llama: the defaults."""


def capped_llama_with_other_norms(cfg):
    cfg.decoder.logit_cap = 2.0
    layer = cfg.decoder.transformer.layer
    layer.self_attention.structure = "postnorm"
    layer.feed_forward.set(
        structure="hybridnorm", residual_weight=0.5, activation=("nn.gelu", "linear")
    )
    attention = layer.self_attention.attention.set(logit_cap=1.5, sliding_window=4)
    attention.query_scale.norm = RMSNorm.default_config()
    attention.key_scale.norm = RMSNorm.default_config()
    scaling = Llama31RotaryScaling.default_config().set(original_max_positions=1024)
    rope = attention.input_linear.set(rotary_value=True).rope_pos_emb_layer
    rope.set(layout="half_split", scaling=scaling)


def alibi_with_hybrid_norms(cfg):
    layer = cfg.decoder.transformer.layer
    layer.self_attention.structure = "hybridnorm"
    layer.feed_forward.set(structure="postnorm", activation="nn.relu")
    attention = layer.self_attention.attention.set(logit_bias=ALiBi.default_config())
    attention.input_linear = attention.input_linear.input_linear


CAPPED = Options(
    attention_structure="postnorm",
    feed_forward_structure="hybridnorm",
    residual_weight=0.5,
    activation="gelu",
    pairs="half_split",
    slow_pairs_factor=8.0,
    original_max_positions=1024,
    rotates_values=True,
    window=4,
    attention_cap=1.5,
    output_cap=2.0,
)
BIASED = Options(
    attention_structure="hybridnorm",
    feed_forward_structure="postnorm",
    activation="relu",
    theta=None,
    # Of 6 heads: those of 4, then the first and third of 8.
    slopes=(2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3),
)


@pytest.mark.parametrize(
    ("change", "options", "num_kv_heads", "tied_head"),
    [
        (plain, Options(), 1, True),
        (capped_llama_with_other_norms, CAPPED, 2, False),
        (alibi_with_hybrid_norms, BIASED, 6, True),
    ],
)
def test_logits_equal_those_of_a_second_implementation(
    model_config, packed_batch, change, options, num_kv_heads, tied_head
):
    cfg = model_config(tied_head=tied_head, num_kv_heads=num_kv_heads)
    change(cfg)
    model = with_random_scales(cfg.instantiate(rngs=nnx.Rngs(0)))
    expected = numpy_logits(numpy_params(model), packed_batch, options)
    assert np.std(expected) > 0.5
    logits = jax.jit(lambda batch: model(batch))(packed_batch)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-5)


def test_loss_is_the_mean_over_targets_that_count_and_the_sums_are_its_parts(
    model_config, packed_batch
):
    # The last place of row 0 is padding; the third target of row 1 is the pad token.
    batch = {**packed_batch, "targets": packed_batch["targets"].at[1, 2].set(0)}
    model = model_config().set(z_loss_scale=1e-2).instantiate(rngs=nnx.Rngs(0))
    logits = numpy_logits(numpy_params(model), batch)
    log_sums = np.log(np.exp(logits).sum(-1))
    nats = (
        log_sums - np.take_along_axis(logits, np.asarray(batch["targets"])[..., None], -1)[..., 0]
    )
    counts = np.ones((2, 16))
    counts[0, 15] = counts[1, 2] = 0
    loss, aux = jax.jit(model.loss)(batch)
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


def test_a_batch_of_padding_alone_has_loss_zero(model_config, packed_batch):
    batch = {**packed_batch, "segment_ids": jnp.zeros((2, 16), jnp.int32)}
    loss, aux = jax.jit(model_config().instantiate(rngs=nnx.Rngs(0)).loss)(batch)
    assert float(loss) == 0.0 and int(aux.num_targets) == 0


def test_a_document_does_not_see_its_neighbours_in_the_row(model_config, packed_batch):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    forward = jax.jit(lambda inputs: model({**packed_batch, "inputs": inputs}))
    before = forward(packed_batch["inputs"])
    changed = forward(packed_batch["inputs"].at[0, 5:12].add(1).clip(0, 63))
    same = np.all(np.asarray(before) == np.asarray(changed), axis=-1)
    assert same[1].all()
    assert same[0].tolist() == [True] * 5 + [False] * 7 + [True] * 4


def test_a_position_does_not_see_what_comes_after_it(model_config, packed_batch):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    forward = jax.jit(lambda inputs: model({**packed_batch, "inputs": inputs}))
    before = forward(packed_batch["inputs"])
    changed = forward(packed_batch["inputs"].at[1, 9].set(0))
    same = np.all(np.asarray(before) == np.asarray(changed), axis=-1)
    assert same[1].tolist() == [True] * 9 + [False] * 7


def test_packed_documents_have_the_loss_of_the_same_documents_padded(model_config, packed_batch):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    spans = [(0, 0, 5), (0, 5, 12), (0, 12, 15), (1, 0, 16)]
    padded = {
        name: jnp.stack(
            [jnp.pad(rows[row, start:end], (0, 16 - end + start)) for row, start, end in spans]
        )
        for name, rows in packed_batch.items()
    }
    packed_sums, padded_sums = (jax.jit(model.loss)(b).aux for b in (packed_batch, padded))
    assert int(packed_sums.num_targets) == int(padded_sums.num_targets) == 31
    assert float(packed_sums.loss_sum) == pytest.approx(float(padded_sums.loss_sum), rel=1e-6)


def test_bfloat16_parameters_compute_in_bfloat16_and_sum_the_loss_in_float32(
    model_config, packed_batch
):
    model = model_config().instantiate(rngs=nnx.Rngs(0))
    exact = float(jax.jit(model.loss)(packed_batch).loss)
    graph, params = nnx.split(model, nnx.Param)
    model = nnx.merge(graph, jax.tree.map(lambda p: p.astype(jnp.bfloat16), params))
    assert jax.eval_shape(model, packed_batch).dtype == jnp.bfloat16
    loss, aux = jax.jit(model.loss)(packed_batch)
    assert aux.loss_sum.dtype == jnp.float32
    assert float(loss) == pytest.approx(exact, rel=2e-2)


def test_two_models_of_one_config_have_equal_graphs_so_that_nothing_compiles_twice(model_config):
    graphs = [nnx.split(model_config().instantiate(rngs=nnx.Rngs(i)))[0] for i in range(2)]
    assert graphs[0] == graphs[1] and hash(graphs[0]) == hash(graphs[1])


def test_sizes_that_are_not_set_are_named():
    with pytest.raises(RequiredFieldMissingError, match="dim, vocab_size"):
        CausalLM.default_config().instantiate(rngs=nnx.Rngs(0))
