"""AdamW, clipping and the learner against loops in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from axl_exp.config import RequiredFieldMissingError, config_for_function
from axl_exp.optim import (
    Learner,
    adamw,
    clip_by_global_norm,
    constant,
    cosine_with_linear_warmup,
)

NUM_STEPS = 50


def learner_config(*, max_norm=None, **optimizer):
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=40, warmup_steps=5, alpha=0.1
    )
    cfg = Learner.default_config().set(
        optimizer=config_for_function(adamw).set(
            learning_rate=1e-2, weight_decay=0.1, update_schedule=schedule, **optimizer
        )
    )
    if max_norm is not None:
        cfg.gradient_clipping = config_for_function(clip_by_global_norm).set(max_norm=max_norm)
    return cfg


def random_params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0))
    return {
        "layer": {"weight": jax.random.normal(keys[0], (3, 4)).astype(dtype)},
        "scale": jnp.ones(4, dtype),
    }


def random_gradients(step):
    rng = np.random.default_rng(step)
    # Some steps have large gradients, which clipping cuts.
    size = 10.0 if step % 3 == 0 else 0.1
    return {
        "layer": {"weight": jnp.asarray(size * rng.normal(size=(3, 4)), jnp.float32)},
        "scale": jnp.asarray(size * rng.normal(size=4), jnp.float32),
    }


def numpy_adamw(params, *, max_norm, b1=0.9, b2=0.95, eps=1e-8):
    """The parameters after each step, in float64."""
    p, tree = ravel_pytree(params)
    p = np.asarray(p, np.float64)
    m, v = np.zeros_like(p), np.zeros_like(p)
    history = []
    for t in range(1, NUM_STEPS + 1):
        g = np.asarray(ravel_pytree(random_gradients(t))[0], np.float64)
        if max_norm is not None:
            g = g * min(1.0, max_norm / (np.sqrt((g**2).sum()) + 1e-8))
        if t <= 5:
            rate = 1e-2 * t / 5
        else:
            rate = 1e-2 * (0.9 * 0.5 * (1 + np.cos(np.pi * min(t - 5, 35) / 35)) + 0.1)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        direction = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - rate * (direction + 0.1 * p)
        history.append((tree(jnp.asarray(p, jnp.float32)), rate, m))
    return history


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_fifty_steps_of_adamw_equal_a_numpy_loop(max_norm):
    learner = learner_config(max_norm=max_norm).instantiate()
    params = random_params()
    state = learner.init(params)
    update = jax.jit(learner.update)
    for t, (expected, rate, _) in enumerate(numpy_adamw(params, max_norm=max_norm), start=1):
        params, state, summaries = update(random_gradients(t), state, params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), params, expected
        )
        assert float(summaries["learning_rate"]) == pytest.approx(rate, rel=1e-5)
        norm = float(optax.tree.norm(random_gradients(t)))
        assert float(summaries["gradient_norm"]) == pytest.approx(norm)


@pytest.mark.parametrize(("size", "expected"), [(0.25, 0.5), (2.0, 1.0)])
def test_clipping_leaves_small_gradients_and_shortens_large_ones(size, expected):
    clip = clip_by_global_norm(max_norm=1.0)
    gradients = {"a": jnp.full(2, size), "b": jnp.full((1, 2), size)}
    clipped, _ = clip.update(gradients, clip.init(gradients))
    assert float(optax.tree.norm(clipped)) == pytest.approx(expected)
    assert len({float(g) for leaf in jax.tree.leaves(clipped) for g in leaf.ravel()}) == 1


def test_bfloat16_parameters_are_updated_in_float32():
    learner = learner_config().instantiate()
    rounded = random_params(jnp.bfloat16)
    exact = jax.tree.map(lambda p: p.astype(jnp.float32), rounded)
    gradients = jax.tree.map(lambda g: g.astype(jnp.bfloat16), random_gradients(1))
    state = learner.init(rounded)
    output = learner.update(gradients, state, rounded)
    expected = learner.update(
        jax.tree.map(lambda g: g.astype(jnp.float32), gradients), learner.init(exact), exact
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b.astype(jnp.bfloat16)),
        output.params,
        expected.params,
    )
    jax.tree.map(np.testing.assert_array_equal, output.state, expected.state)
    assert optax.tree.get(output.state, "mu")["scale"].dtype == jnp.float32


def test_the_running_mean_may_be_kept_in_bfloat16():
    learner = learner_config(mu_dtype=jnp.bfloat16).instantiate()
    params = random_params()
    state = learner.init(params)
    for t in range(1, 11):
        params, state, _ = learner.update(random_gradients(t), state, params)
    mean = optax.tree.get(state, "mu")
    assert {leaf.dtype for leaf in jax.tree.leaves(mean)} == {jnp.dtype(jnp.bfloat16)}
    assert optax.tree.get(state, "nu")["scale"].dtype == jnp.float32
    exact = numpy_adamw(random_params(), max_norm=None)[9][2]
    np.testing.assert_allclose(ravel_pytree(mean)[0], exact, atol=0.1)


def test_a_schedule_may_be_a_function_or_a_config_of_one():
    params, gradients = random_params(), random_gradients(1)

    def updated(schedule):
        optimizer = adamw(1e-3, update_schedule=schedule)
        return optimizer.update(gradients, optimizer.init(params), params)[0]

    jax.tree.map(
        np.testing.assert_array_equal,
        updated(constant(0.5)),
        updated(config_for_function(constant).set(value=0.5)),
    )


def test_an_update_takes_back_the_structure_of_its_state():
    learner = learner_config(max_norm=1.0).instantiate()
    params = random_params()
    state = learner.init(params)
    output = learner.update(random_gradients(1), state, params)
    assert jax.tree.structure(output.state) == jax.tree.structure(state)
    assert jax.tree.structure(output.params) == jax.tree.structure(params)


def test_what_is_not_set_is_named():
    with pytest.raises(RequiredFieldMissingError, match="optimizer"):
        Learner.default_config().instantiate()
    with pytest.raises(RequiredFieldMissingError, match="learning_rate, update_schedule"):
        Learner.default_config().set(optimizer=config_for_function(adamw)).instantiate()
