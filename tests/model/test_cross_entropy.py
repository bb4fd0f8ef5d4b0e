import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from axl_exp.errors import UserError
from axl_exp.model.cross_entropy import loss_sums, token_losses


@pytest.fixture
def logits_and_targets():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(0, 3, (2, 12, 50)), jnp.float32)
    return logits, jnp.asarray(rng.integers(0, 50, (2, 12)), jnp.int32)


def test_equals_the_log_sum_exp_of_scipy(logits_and_targets):
    logits, targets = logits_and_targets
    exact = np.asarray(logits, np.float64)
    exact_log_sums = np.asarray(logsumexp(exact, axis=-1))
    picked = np.take_along_axis(exact, np.asarray(targets)[..., None], -1)[..., 0]
    losses, log_sums = token_losses(logits, targets)
    np.testing.assert_allclose(log_sums, exact_log_sums, rtol=1e-6)
    np.testing.assert_allclose(losses, exact_log_sums - picked, rtol=1e-5, atol=1e-6)


def test_gradient_equals_that_of_the_plain_formula(logits_and_targets):
    logits, targets = logits_and_targets
    weights = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 12)), jnp.float32)

    def plain(logits):
        log_sums = jax.nn.logsumexp(logits, axis=-1)
        picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return jnp.sum(weights * (log_sums - picked + 0.1 * log_sums**2))

    def ours(logits):
        losses, log_sums = token_losses(logits, targets)
        return jnp.sum(weights * (losses + 0.1 * log_sums**2))

    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(plain)(logits), atol=1e-6)


def test_logits_of_any_size_give_finite_losses_and_gradients():
    logits = jnp.asarray([[[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]]], jnp.float32)
    targets = jnp.asarray([[1, 2]])
    losses, _ = token_losses(logits, targets)
    np.testing.assert_allclose(losses, [[2e4, np.log(3)]], rtol=1e-4)
    gradient = jax.grad(lambda x: token_losses(x, targets)[0].sum())(logits)
    np.testing.assert_allclose(gradient, [[[1, -1, 0], [1 / 3, 1 / 3, -2 / 3]]], atol=1e-3)


def test_bfloat16_logits_are_summed_in_float32(logits_and_targets):
    logits, targets = logits_and_targets
    rounded = logits.astype(jnp.bfloat16)
    losses, _ = token_losses(rounded, targets)
    np.testing.assert_array_equal(losses, token_losses(rounded.astype(jnp.float32), targets)[0])
    gradient = jax.grad(lambda x: token_losses(x, targets)[0].sum())(rounded)
    assert losses.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16


@pytest.mark.parametrize("chunk_tokens", [4, 12])
def test_in_chunks_equals_at_once(chunk_tokens):
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(2, 12, 8)), jnp.float32)
    head = jnp.asarray(rng.normal(size=(50, 8)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, 50, (2, 12)))
    weights = jnp.ones((2, 12)).at[0, 9:].set(0)

    def total(hidden, head, chunk_tokens):
        loss_sum, squared_sum = loss_sums(
            lambda x: x @ head.T, hidden, targets, weights, chunk_tokens=chunk_tokens
        )
        return loss_sum + 1e-2 * squared_sum

    grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1)), static_argnums=2)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        grad(hidden, head, chunk_tokens),
        grad(hidden, head, None),
    )


def test_in_chunks_no_array_holds_the_logits_of_all_positions():
    hidden, head = jnp.ones((2, 12, 8)), jnp.ones((50, 8))
    targets, weights = jnp.ones((2, 12), jnp.int32), jnp.ones((2, 12))

    def total(hidden, chunk_tokens):
        sums = loss_sums(lambda x: x @ head.T, hidden, targets, weights, chunk_tokens=chunk_tokens)
        return sums[0]

    at_once = str(jax.make_jaxpr(jax.grad(lambda x: total(x, None)))(hidden))
    chunked = str(jax.make_jaxpr(jax.grad(lambda x: total(x, 4)))(hidden))
    assert "f32[2,12,50]" in at_once
    assert "f32[2,12,50]" not in chunked and "f32[3,2,4,50]" not in chunked


@pytest.mark.parametrize("chunk_tokens", [5, 0, 24])
def test_a_chunk_that_does_not_divide_the_sequence_is_refused(chunk_tokens):
    with pytest.raises(UserError) as error:
        loss_sums(lambda x: x, jnp.ones((1, 12, 8)), None, None, chunk_tokens=chunk_tokens)  # pyright: ignore
    assert str(error.value) == (
        f"model.loss_chunk_tokens {chunk_tokens} does not divide the sequence length 12; "
        "set a divisor of it, or None."
    )
