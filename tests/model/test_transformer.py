import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.model import RematSpec


@pytest.fixture(scope="module")
def loss_and_gradients(packed_batch, compiled):
    """A function from a config to the loss and gradients of its model of seed 0."""

    def compute(cfg):
        graph, params = nnx.split(cfg.instantiate(rngs=nnx.Rngs(0)), nnx.Param)
        loss = lambda params: nnx.merge(graph, params).loss(packed_batch).loss  # noqa: E731
        return compiled(jax.value_and_grad(loss))(params)

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
    expected = x
    for i in range(3):
        layer = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
        expected = layer(expected, **context)
    np.testing.assert_allclose(transformer(x, **context), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unroll", [2, True])
def test_unrolled_equals_scanned(model_config, loss_and_gradients, plain, unroll):
    cfg = model_config()
    cfg.decoder.transformer.unroll = unroll
    assert_same(loss_and_gradients(cfg), plain)


@pytest.mark.parametrize("save", ["", "[qkvo]_proj|context"])
def test_rematerialised_equals_kept(model_config, loss_and_gradients, plain, save):
    cfg = model_config()
    cfg.decoder.transformer.layer.remat_spec = RematSpec(save=save)
    assert_same(loss_and_gradients(cfg), plain)


def num_products(model_config, batch, remat_spec) -> int:
    """The matrix products of a forward and backward pass."""
    cfg = model_config()
    cfg.decoder.transformer.layer.remat_spec = remat_spec
    graph, params = nnx.split(cfg.instantiate(rngs=nnx.Rngs(0)), nnx.Param)
    gradient = jax.grad(lambda params: nnx.merge(graph, params).loss(batch).loss)
    return str(jax.make_jaxpr(gradient)(params)).count("dot_general")


def test_what_is_not_saved_by_name_is_computed_again(model_config, packed_batch):
    # Products per layer: qkv, logits, context, o_proj, linear1_0, linear1_1, linear2.
    kept = num_products(model_config, packed_batch, None)
    nothing = num_products(model_config, packed_batch, RematSpec(save=""))
    attention = num_products(model_config, packed_batch, RematSpec(save="[qkvo]_proj|context"))
    # The last product of a layer is never needed to go backward.
    assert nothing - kept == 6
    # Again: the attention logits, for the gradient of the softmax, and the two of the gate.
    assert attention - kept == 3


def test_stacked_parameters_say_so_in_their_logical_axes(model_config):
    layer = model_config().instantiate(rngs=nnx.Rngs(0)).decoder.transformer.layer
    weight = layer.feed_forward.linear1_0.weight
    assert weight.shape == (3, 24, 40)
    assert weight.get_metadata()["logical_axes"] == ("layers", "embed", "feed_forward")
    assert weight.get_value().dtype == jnp.float32
