"""Limits on the size of gradients and updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axl_exp.optim.context import add_summary
from axl_exp.optim.per_param import map_per_layer


def clip_by_global_norm(*, max_norm: float, eps: float = 1e-8) -> optax.GradientTransformation:
    """Return g · min(1, max_norm / (‖g‖ + eps)), with ‖g‖ over all parameters together.

    (Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, algorithm 1.) Reports the factor, as
    `gradient_scale`.
    """

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        scale = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + eps))
        add_summary("gradient_scale", scale)
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def clip_by_block_rms(threshold: float | None) -> optax.GradientTransformation:
    """Return u / max(1, rms(u) / threshold) for each parameter, each layer of a stacked one apart.

    (Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, section 6.) None clips nothing.
    """

    if threshold is None:
        return optax.identity()

    def clipped(u: jax.Array) -> jax.Array:
        """Return û of the paper, for one matrix."""
        return u / jnp.maximum(1.0, jnp.sqrt(jnp.mean(jnp.square(u))) / threshold)

    return optax.stateless(lambda updates, params: map_per_layer(clipped, updates))
