"""Soft caps of logits (Gemma Team 2024, https://arxiv.org/abs/2408.00118, section 2)."""

import jax
import jax.numpy as jnp


def soft_cap(logits: jax.Array, cap: float) -> jax.Array:
    """Return cap · tanh(logits / cap): within ±cap, and close to the logits where they are small.

    Computed in float32, returned in the dtype of the logits.
    """
    return (cap * jnp.tanh(logits.astype(jnp.float32) / cap)).astype(logits.dtype)
