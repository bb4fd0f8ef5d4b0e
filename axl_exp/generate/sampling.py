"""From logits to the next token. B batch, V vocabulary."""

import dataclasses

import jax
import jax.numpy as jnp

from axl_exp.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: Logits are divided by it; 0 always takes the most likely token.
        top_k: Only the so many most likely tokens; None for all.
        top_p: Only the fewest most likely tokens that have so much probability together, of those
            that top_k leaves (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); None for
            all.
        seed: Every row and position draws from a key of its own, so that how a text is computed
            does not change it.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"--temperature={self.temperature} must be 0 or more.")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"--top_k={self.top_k} must be 1 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"--top_p={self.top_p} must be above 0 and at most 1.")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed={self.seed} must be from 0 to 2**32 - 1.")


def kept_logits(logits_BV: jax.Array, sampling: Sampling) -> jax.Array:
    """Return float32 logits over the temperature, -inf for tokens that are not to be drawn."""
    logits = logits_BV.astype(jnp.float32) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, sampling.top_k)[0][:, -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.top_p is not None and sampling.top_p < 1:
        order = jnp.argsort(-logits, axis=-1)
        sorted_probabilities = jnp.take_along_axis(jax.nn.softmax(logits), order, axis=-1)
        before = jnp.cumsum(sorted_probabilities, axis=-1) - sorted_probabilities
        row = jnp.arange(len(logits))[:, None]
        is_kept = jnp.zeros(logits.shape, bool).at[row, order].set(before < sampling.top_p)
        logits = jnp.where(is_kept, logits, -jnp.inf)
    return logits


def next_tokens(logits_BV: jax.Array, sampling: Sampling, *, positions_B: jax.Array) -> jax.Array:
    """Return the int32 token of each row; `positions_B` are those that the tokens will stand at."""
    if sampling.temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)

    def draw(row: jax.Array, position: jax.Array, logits_V: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(sampling.seed), row), position)
        return jax.random.categorical(key, logits_V)

    rows = jnp.arange(len(logits_BV))
    drawn = jax.vmap(draw)(rows, positions_B, kept_logits(logits_BV, sampling))
    return drawn.astype(jnp.int32)
