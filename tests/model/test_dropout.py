"""Statistics, sites and keys of what training draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.config import Configurable, config_class
from axl_exp.errors import UserError
from axl_exp.model import (
    BaseLayer,
    Dropout,
    RematSpec,
    RepeatedTransformerLayer,
    StochasticDepth,
    abstract_model,
)
from axl_exp.model.dropout import is_random
from axl_exp.model.residual import ResidualLayer

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(64, 32, 16)), jnp.float32)


def test_dropout_zeroes_its_share_and_scales_the_rest_to_keep_the_mean():
    y = np.asarray(Dropout.default_config().instantiate(default_rate=0.25)(X, key=KEY))
    zero = y == 0
    # The share of 32768 draws has a deviation of 0.0024.
    assert zero.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(y[~zero], np.asarray(X)[~zero] / 0.75, rtol=1e-6)
    # Units are drawn one by one: each row and each column loses about its share.
    assert np.ptp(zero.mean(axis=(1, 2))) < 0.2 and np.ptp(zero.mean(axis=(0, 1))) < 0.1


def test_a_key_gives_the_same_again_and_another_key_something_else():
    dropout = Dropout.default_config().instantiate(default_rate=0.25)
    y, again, other = (dropout(X, key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(y, again)
    # Where each keeps 3/4 by itself, both or neither do at 10/16 of the places.
    assert np.mean((y == 0) == (other == 0)) == pytest.approx(0.625, abs=0.02)


@pytest.mark.parametrize(("rate", "default", "expected"), [(None, 0.3, 0.3), (0.0, 0.3, 0.0)])
def test_a_rate_is_inherited_unless_it_is_set(rate, default, expected):
    dropout = Dropout.default_config().set(rate=rate).instantiate(default_rate=default)
    assert dropout.rate == expected


def test_without_a_key_or_a_rate_x_is_x():
    dropout = Dropout.default_config()
    assert dropout.instantiate(default_rate=0.5)(X, key=None) is X
    assert dropout.instantiate(default_rate=0.0)(X, key=KEY) is X
    assert StochasticDepth.default_config().instantiate()(X, key=KEY) is X


def test_stochastic_depth_by_row_drops_rows_of_the_batch():
    rows = jnp.ones((4096, 2, 3))
    depth = StochasticDepth.default_config().set(rate=0.25).instantiate()
    y = np.asarray(depth(rows, key=KEY))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    # 4096 draws: a deviation of 0.0068.
    assert (y[:, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.03)


def test_stochastic_depth_by_batch_drops_all_or_nothing():
    depth = StochasticDepth.default_config().set(rate=0.25, mode="batch").instantiate()
    keys = jax.random.split(KEY, 512)
    y = np.asarray(jax.vmap(lambda key: depth(jnp.ones((3, 2)), key=key))(keys))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    # 512 draws: a deviation of 0.019.
    assert (y[:, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(UserError) as error:
        Dropout.default_config().set(rate=rate).instantiate(default_rate=0.0)
    assert str(error.value) == (
        f"Dropout.rate {rate} is no probability below 1: it is the share that becomes zero; 0 "
        "turns it off."
    )


def test_a_branch_is_dropped_whole_and_what_it_puts_out_is_weighted():
    cfg = ResidualLayer.default_config().set(residual_weight=0.5)
    cfg.stochastic_depth.rate = 0.5
    layer = cfg.instantiate(dim=16)
    y = layer.add_branch(X, lambda normed, key: 3 * normed, key=KEY)
    dropped = np.asarray(jnp.all(y == X, axis=(1, 2)))
    assert 10 < dropped.sum() < 54
    np.testing.assert_allclose(
        y[~dropped], (X + 0.5 * 3 * layer.norm(X) / 0.5)[~dropped], rtol=1e-5, atol=1e-5
    )


LAYER = "decoder.transformer.layer."
SITES = {
    "decoder.emb.dropout": 1,
    "decoder.output_dropout": 1,
    LAYER + "self_attention.attention.dropout": 1,
    LAYER + "self_attention.dropout": 1,
    LAYER + "self_attention.stochastic_depth": 1,
    # Of the hidden units, and of what comes out.
    LAYER + "feed_forward.dropout": 2,
    LAYER + "feed_forward.stochastic_depth": 1,
}


def num_draws(cfg, batch, key):
    loss = lambda model, batch, key: model.loss(batch, key=key).loss  # noqa: E731
    return str(jax.make_jaxpr(loss)(abstract_model(cfg), batch, key)).count("random_bits")


@pytest.mark.parametrize("site", SITES)
def test_every_site_draws_where_it_has_a_rate_and_only_there(model_config, packed_batch, site):
    cfg = model_config()
    assert not is_random(abstract_model(cfg))
    cfg.get_recursively(site.split(".")).rate = 0.5
    assert is_random(abstract_model(cfg))
    assert num_draws(cfg, packed_batch, KEY) == SITES[site]
    assert num_draws(cfg, packed_batch, None) == 0


def test_every_dropout_inherits_the_rate_of_the_decoder(model_config):
    cfg = model_config()
    cfg.decoder.dropout_rate = 0.3
    cfg.decoder.emb.dropout.rate = 0.1
    nodes = dict(nnx.iter_graph(abstract_model(cfg)))
    rates = {".".join(map(str, path)): n.rate for path, n in nodes.items() if type(n) is Dropout}
    dropouts = [site for site in SITES if site.endswith("dropout")]
    assert rates == {site: 0.1 if "emb" in site else 0.3 for site in dropouts}


class Probe(BaseLayer):
    """A layer that moves x on by one and puts what it draws in front."""

    @config_class
    class Config(Configurable.Config):
        """As the stack wants it."""

        remat_spec: RematSpec | None = None

    def __init__(self, cfg, **kwargs):
        pass

    def __call__(self, x, *, key, **kwargs):
        return jnp.roll(x, 1).at[0].set(jax.random.uniform(key))


def test_each_layer_has_a_key_of_its_own():
    stack = RepeatedTransformerLayer.default_config().set(
        num_layers=3, layer=Probe.default_config()
    )
    draw = stack.instantiate(dim=4, param_init=None, rngs=nnx.Rngs(0))
    draws = [
        draw(jnp.zeros(4), positions_BS=None, segment_ids_BS=None, key=jax.random.key(i))
        for i in (0, 1, 0)
    ]
    assert len(np.unique(np.stack(draws[:2])[:, :3])) == 6
    np.testing.assert_array_equal(draws[0], draws[2])


def test_a_loss_without_a_key_is_that_of_a_model_without_rates(model_config, packed_batch):
    cfg = model_config()
    # No kernel computes attention with dropout, so that "auto" means two things here.
    cfg.decoder.transformer.layer.self_attention.attention.backend = "xla"
    without = abstract_model(cfg)
    cfg.decoder.dropout_rate = 0.5
    jaxprs = [
        str(jax.make_jaxpr(lambda model, batch: model.loss(batch))(model, packed_batch))
        for model in (abstract_model(cfg), without)
    ]
    assert jaxprs[0] == jaxprs[1]
