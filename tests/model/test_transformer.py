import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.model import RematSpec, abstract_model, transformer


@pytest.fixture(scope="module")
def loss_and_gradients(packed_batch):
    """A function from a config to the loss and gradients of its model of seed 0."""

    def compute(cfg):
        graph, params = nnx.split(cfg.instantiate(rngs=nnx.Rngs(0)), nnx.Param)
        loss = lambda params: nnx.merge(graph, params).loss(packed_batch).loss  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(params)

    return compute


@pytest.fixture(scope="module")
def plain(model_config, loss_and_gradients):
    """The loss and gradients of a scan that keeps everything."""
    return loss_and_gradients(model_config())


def assert_same(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), actual, expected
    )


def test_every_layer_starts_from_numbers_of_its_own(model_config):
    layers = model_config().instantiate(rngs=nnx.Rngs(0)).decoder.transformer.layer
    for path, param in nnx.to_flat_state(nnx.state(layers, nnx.Param)):
        if path[-1] == "weight":
            assert param.shape[0] == 3
            assert not np.isclose(param[0], param[1]).any(), path


def test_the_layers_are_applied_in_order(model_config, packed_batch):
    transformer = model_config().instantiate(rngs=nnx.Rngs(0)).decoder.transformer
    x = jax.random.normal(jax.random.key(0), (2, 16, 24))
    context = {
        "positions_BS": packed_batch["positions"],
        "segment_ids_BS": packed_batch["segment_ids"],
    }
    graph, stacked = nnx.split(transformer.layer)

    @jax.jit
    def apply(x, i):
        return nnx.merge(graph, jax.tree.map(lambda leaf: leaf[i], stacked))(x, **context)

    expected = apply(apply(apply(x, 0), 1), 2)
    actual = jax.jit(lambda x: transformer(x, **context))(x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unroll", [2, True])
def test_unrolled_equals_scanned(model_config, loss_and_gradients, plain, unroll):
    cfg = model_config()
    cfg.decoder.transformer.unroll = unroll
    assert_same(loss_and_gradients(cfg), plain)


@pytest.mark.parametrize(
    "spec",
    [
        {"save": ""},
        {"save": "[qkvo]_proj|context"},
        {"save": "o_proj", "offload": "[qkv]_proj|linear.*"},
    ],
)
def test_rematerialised_equals_kept(model_config, loss_and_gradients, plain, spec):
    cfg = model_config()
    cfg.decoder.transformer.layer.remat_spec = RematSpec(**spec)
    assert_same(loss_and_gradients(cfg), plain)


def gradient_jaxpr(model_config, batch, remat_spec, *, unroll=1) -> str:
    cfg = model_config()
    cfg.decoder.transformer.unroll = unroll
    cfg.decoder.transformer.layer.remat_spec = remat_spec
    # The blocks of a CPU compute the context again too, for the gradient of what divides it.
    cfg.decoder.transformer.layer.self_attention.attention.backend = "xla"
    graph, params = nnx.split(abstract_model(cfg), nnx.Param)
    gradient = jax.grad(lambda params: nnx.merge(graph, params).loss(batch).loss)
    return str(jax.make_jaxpr(gradient)(params))


def test_what_is_not_kept_by_name_is_computed_again(model_config, packed_batch):
    def num_products(remat_spec):
        return gradient_jaxpr(model_config, packed_batch, remat_spec).count("dot_general")

    # Products per layer: qkv, logits, context, o_proj, linear1_0, linear1_1, linear2.
    kept = num_products(None)
    # The last product of a layer is never needed to go backward.
    assert num_products(RematSpec(save="")) - kept == 6
    # Again: the attention logits, for the gradient of the softmax, and the two of the gate.
    assert num_products(RematSpec(save="[qkvo]_proj|context")) - kept == 3
    assert num_products(RematSpec(offload="[qkvo]_proj|context")) - kept == 3


@pytest.mark.parametrize(
    ("unroll", "is_kept_apart"), [(1, False), (2, False), (3, True), (True, True)]
)
def test_what_unrolled_layers_compute_again_is_not_merged_with_the_first_computation(
    model_config, packed_batch, unroll, is_kept_apart
):
    jaxpr = gradient_jaxpr(model_config, packed_batch, RematSpec(), unroll=unroll)
    assert "prevent_cse=" in jaxpr
    assert ("prevent_cse=True" in jaxpr) == is_kept_apart


def test_what_is_offloaded_by_name_goes_to_the_host_and_comes_back(model_config, packed_batch):
    spec = RematSpec(save="q_proj|o_proj", offload="[qk]_proj")
    jaxpr = gradient_jaxpr(model_config, packed_batch, spec)
    # Of 3 layers, 2 rows, 16 places: the keys of 2 heads; of the queries of 6, `save` comes first.
    assert "f32<host>[3,2,16,2,4]" in jaxpr
    assert "f32<host>[3,2,16,6,4]" not in jaxpr
    assert "<host>" not in gradient_jaxpr(model_config, packed_batch, RematSpec(save="[qko]_proj"))


def test_a_layers_input_is_kept_unless_it_is_offloaded(model_config, packed_batch):
    def stacked_inputs(**spec):
        jaxpr = gradient_jaxpr(model_config, packed_batch, RematSpec(**spec))
        return set(re.findall(r"f32(<host>)?\[3,2,16,24\]", jaxpr))

    assert stacked_inputs() == stacked_inputs(save="input") == {""}
    assert stacked_inputs(offload="input") == {"<host>"}


def test_where_something_is_offloaded_on_a_tpu_layers_hand_on_vectors_that_lie_in_rows(
    model_config, loss_and_gradients, plain, packed_batch, monkeypatch
):
    def has_layout(**spec):
        return "layout_constraint" in gradient_jaxpr(model_config, packed_batch, RematSpec(**spec))

    assert not has_layout(offload="q_proj")
    monkeypatch.setattr(transformer, "platform_in_use", lambda: "tpu")
    assert has_layout(offload="q_proj")
    assert not has_layout(save="q_proj")
    cfg = model_config()
    cfg.decoder.transformer.layer.remat_spec = RematSpec(offload="q_proj")
    assert_same(loss_and_gradients(cfg), plain)


def test_stacked_parameters_say_so_in_their_logical_axes(model_config):
    layer = model_config().instantiate(rngs=nnx.Rngs(0)).decoder.transformer.layer
    weight = layer.feed_forward.linear1_0.weight
    assert weight.shape == (3, 24, 40)
    assert weight.get_metadata()["logical_axes"] == ("layers", "embed", "feed_forward")
    assert weight.get_value().dtype == jnp.float32
