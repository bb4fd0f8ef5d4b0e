"""Limits on gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax


def clip_by_global_norm(*, max_norm: float, eps: float = 1e-8) -> optax.GradientTransformation:
    """Return g · min(1, max_norm / (‖g‖ + eps)), with ‖g‖ over all parameters together.

    (Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, algorithm 1.)
    """

    def update(updates, state, params=None):
        del params
        scale = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + eps))
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
