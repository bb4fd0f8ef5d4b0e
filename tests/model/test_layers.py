"""Each layer against a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.errors import UserError
from axl_exp.model import (
    DefaultInitializer,
    RMSNorm,
    RoFormerSinusoidalPositionalEmbedding,
    TransformerFeedForwardLayer,
    qkv,
    rotary,
)
from axl_exp.model.attention_xla import attention_mask
from axl_exp.model.rotary import rotate


def test_rms_norm_gives_vectors_of_mean_square_one_times_the_scale():
    norm = RMSNorm.default_config().set(eps=0.0).instantiate(dim=64)
    x = 1e3 * np.random.default_rng(0).normal(size=(2, 5, 64)).astype(np.float32)
    np.testing.assert_allclose(jnp.mean(norm(x) ** 2, axis=-1), 1.0, rtol=1e-5)
    norm.scale.set_value(2 * jnp.ones(64))
    np.testing.assert_allclose(jnp.mean(norm(x) ** 2, axis=-1), 4.0, rtol=1e-5)


def test_rms_norm_keeps_its_statistics_in_float32():
    norm = RMSNorm.default_config().instantiate(dim=4096)
    # 4096 squares of 300 add up to 3.7e8, which float16 does not hold.
    x = jnp.full((1, 4096), 300.0, jnp.float16)
    normed = norm(x)
    np.testing.assert_allclose(normed, 1.0, rtol=1e-3)


def test_rotation_turns_each_pair_of_neighbours_by_its_own_angle():
    rope = RoFormerSinusoidalPositionalEmbedding.default_config().set(theta=100.0)
    sin, cos = rope.instantiate(head_dim=4)(jnp.asarray([[0, 3]]))
    x = jnp.asarray([1.0, 0.0, 0.0, 2.0]) * jnp.ones((1, 2, 1, 4))
    fast, slow = 3.0, 3.0 / 100 ** (2 / 4)
    turned = [np.cos(fast), np.sin(fast), -2 * np.sin(slow), 2 * np.cos(slow)]
    np.testing.assert_allclose(rotate(x, sin, cos)[0, :, 0], [x[0, 0, 0], turned], atol=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    rope = RoFormerSinusoidalPositionalEmbedding.default_config().instantiate(head_dim=8)
    query, key = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 8)).astype(np.float32)

    def product(query_position, key_position):
        turned_query = rotate(query, *rope(jnp.asarray([[query_position]])))
        return float(jnp.sum(turned_query * rotate(key, *rope(jnp.asarray([[key_position]])))))

    assert product(9, 4) == pytest.approx(product(105, 100), rel=1e-4)
    assert product(9, 4) != pytest.approx(product(9, 5), rel=1e-2)


@pytest.mark.parametrize("layout", ["interleaved", "half_split"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_product_by_which_tpus_rotate_changes_no_bit(monkeypatch, layout, dtype):
    keys = jax.random.split(jax.random.key(0))
    x, weights = jax.random.normal(keys[0], (2, 2, 16, 3, 8), dtype)
    angles = jax.random.uniform(keys[1], (2, 16, 4), maxval=100.0)

    def weighted_sum(x):
        turned = rotate(x, jnp.sin(angles), jnp.cos(angles), layout=layout)
        return jnp.sum(turned * weights, dtype=jnp.float32), turned

    run = jax.value_and_grad(weighted_sum, has_aux=True)
    (_, expected), expected_gradient = run(x)
    monkeypatch.setattr(rotary, "platform_in_use", lambda: "tpu")
    (_, turned), gradient = run(x)
    assert "dot_general" in str(jax.make_jaxpr(run)(x))
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_three_products_where_tpus_take_them_are_the_groups_of_one(monkeypatch):
    layer = qkv.FusedGroupedQKVLinear.default_config().set(num_kv_heads=2)
    init = DefaultInitializer.default_config().instantiate()
    layer = layer.instantiate(dim=16, num_heads=4, head_dim=8, param_init=init, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 5, 16)).astype(np.float32)
    as_one = layer(x)
    monkeypatch.setattr(qkv, "platform_in_use", lambda: "tpu")
    assert str(jax.make_jaxpr(layer)(x)).count("dot_general") == 3
    for group, expected in zip(layer(x), as_one, strict=True):
        np.testing.assert_allclose(group, expected, rtol=1e-5, atol=1e-6)


def test_an_odd_head_dim_is_refused():
    with pytest.raises(UserError, match="the head dim is odd: 5"):
        RoFormerSinusoidalPositionalEmbedding.default_config().instantiate(head_dim=5)


def test_the_mask_is_causal_within_a_segment():
    mask = attention_mask(jnp.asarray([[1, 1, 2, 2, 0]]))
    assert mask[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def feed_forward(activation):
    cfg = TransformerFeedForwardLayer.default_config().set(hidden_dim=16, activation=activation)
    param_init = DefaultInitializer.default_config().instantiate()
    return cfg.instantiate(dim=8, param_init=param_init, rngs=nnx.Rngs(0))


def test_one_activation_makes_one_first_product_and_several_a_gate():
    plain = feed_forward("nn.relu")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8)), jnp.float32)
    hidden = jnp.maximum(plain.norm(x) @ plain.linear1.weight[...], 0)
    np.testing.assert_allclose(plain(x), x + hidden @ plain.linear2.weight[...], atol=1e-5)
    gated = feed_forward(("nn.gelu", "linear"))
    normed = gated.norm(x)
    hidden = jax.nn.gelu(normed @ gated.linear1_0.weight[...]) * (
        normed @ gated.linear1_1.weight[...]
    )
    np.testing.assert_allclose(gated(x), x + hidden @ gated.linear2.weight[...], atol=1e-5)


def test_an_unknown_activation_is_refused_with_those_that_there_are():
    with pytest.raises(UserError) as error:
        feed_forward(("nn.swish", "linear"))
    assert str(error.value) == (
        "feed_forward.activation: 'nn.swish' is none of linear, nn.gelu, nn.relu, nn.silu."
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 25}, "decoder.dim 25 does not divide by num_heads 6; change one."),
        (
            {"num_kv_heads": 4},
            "num_heads 6 does not divide by num_kv_heads 4: each key/value head serves the same "
            "number of query heads; change one of them.",
        ),
    ],
)
def test_heads_that_do_not_divide_are_refused(model_config, sizes, message):
    with pytest.raises(UserError) as error:
        model_config(**sizes).instantiate(rngs=nnx.Rngs(0))
    assert str(error.value) == message
