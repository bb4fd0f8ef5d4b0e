"""Which tokens may be drawn, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.errors import UserError
from axl_exp.generate.sampling import Sampling, kept_logits, next_tokens

LOGITS = np.random.default_rng(0).normal(0, 2, (5, 40)).astype(np.float32)


def kept(sampling):
    return np.asarray(kept_logits(jnp.asarray(LOGITS), sampling))


def by_hand(logits, sampling):
    """Return the probabilities of one row, token by token in plain Python."""
    scaled = logits.astype(np.float64) / sampling.temperature
    order = sorted(range(len(scaled)), key=lambda i: -scaled[i])
    order = order[: sampling.top_k]
    weights = {i: np.exp(scaled[i] - scaled[order[0]]) for i in order}
    total, chosen, mass = sum(weights.values()), [], 0.0
    for i in order:
        if mass >= (sampling.top_p or 1.0):
            break
        chosen.append(i)
        mass += weights[i] / total
    probabilities = np.zeros(len(scaled))
    for i in chosen:
        probabilities[i] = weights[i] / sum(weights[j] for j in chosen)
    return probabilities


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 1, 7, 100])
@pytest.mark.parametrize("top_p", [None, 0.1, 0.6, 0.95, 1.0])
def test_probabilities_are_those_of_a_plain_implementation(temperature, top_k, top_p):
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    probabilities = np.asarray(jax.nn.softmax(kept(sampling)))
    expected = np.stack([by_hand(row, sampling) for row in LOGITS])
    assert ((probabilities > 0) == (expected > 0)).all()
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_tokens_are_drawn_as_often_as_they_are_probable():
    sampling = Sampling(temperature=1.0, top_k=6, seed=1)
    draw = jax.jit(lambda p: next_tokens(jnp.asarray(LOGITS), sampling, positions_B=p))
    tokens = jax.lax.map(lambda i: draw(jnp.full(5, i)), jnp.arange(4000))
    for row in range(5):
        expected = by_hand(LOGITS[row], sampling)
        share = np.bincount(np.asarray(tokens[:, row]), minlength=40) / 4000
        # Four deviations of a share of 4000 draws.
        assert (abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / 4000)).all()


def test_without_temperature_the_most_likely_token_is_taken():
    tokens = next_tokens(jnp.asarray(LOGITS), Sampling(), positions_B=jnp.zeros(5, jnp.int32))
    assert tokens.tolist() == LOGITS.argmax(-1).tolist()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": -1.0}, "--temperature=-1.0 must be 0 or more"),
        ({"temperature": float("nan")}, "--temperature=nan"),
        ({"top_k": 0}, "--top_k=0 must be 1 or more"),
        ({"top_p": 0.0}, "--top_p=0.0 must be above 0"),
        ({"top_p": 1.5}, "--top_p=1.5"),
        ({"seed": -1}, "--seed=-1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(fields, words):
    with pytest.raises(UserError, match=words):
        Sampling(**fields)
