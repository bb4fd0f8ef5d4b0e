"""Adafactor (Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235, algorithms 4 and 5)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr
from axl_exp.optim.clipping import clip_by_block_rms
from axl_exp.optim.descent import descend
from axl_exp.optim.per_param import PerParamScale, map_per_layer
from axl_exp.optim.schedule import Schedule


def adafactor(
    learning_rate: float,
    *,
    update_schedule: ConfigOr[Schedule],
    decay_exponent: float = 0.8,
    eps_square: float = 1e-30,
    min_dim_size_to_factor: int = 128,
    clipping_threshold: float | None = 1.0,
    momentum: float | None = None,
    momentum_dtype: Any = None,
    multiply_by_parameter_scale: bool = True,
    min_parameter_scale: float = 1e-3,
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    learning_rate_per_param_scale: ConfigOr[PerParamScale] | None = None,
) -> optax.GradientTransformation:
    """Return Δp = -learning_rate · s(t) · l · (max(ε, rms(p)) · u + weight_decay · w · p).

    u is the running mean, if there is one, of r / max(1, rms(r) / clipping_threshold) with
    r = g / √v, and ε is `min_parameter_scale`; v is the running mean of g² + eps_square with decay
    1 - t^(-decay_exponent), kept as the product of a row and a column for the two largest dims if
    both are large. Each layer of a stack is factored, clipped and scaled apart.

    Args:
        learning_rate: The rate where the schedule is 1; relative to the size of a parameter if
            `multiply_by_parameter_scale`.
        update_schedule: s, from step 1.
        decay_exponent: How fast the memory of v grows.
        eps_square: Added to g².
        min_dim_size_to_factor: The smallest dim that v is factored over.
        clipping_threshold: The largest root mean square of r; None for no limit.
        momentum: How much of the running mean of r stays at each step; None: r itself.
        momentum_dtype: The dtype in which that mean is kept; None for the parameter's.
        multiply_by_parameter_scale: Whether u is scaled with rms(p).
        min_parameter_scale: The least such scale.
        weight_decay: How much of p the update takes away, in units of the rate.
        weight_decay_per_param_scale: w; None is 1 everywhere.
        learning_rate_per_param_scale: l; None is 1 everywhere.
    """
    stages = [
        _per_layer(
            optax.scale_by_factored_rms(
                decay_rate=decay_exponent,
                min_dim_size_to_factor=min_dim_size_to_factor,
                epsilon=eps_square,
            )
        ),
        clip_by_block_rms(clipping_threshold),
    ]
    if momentum is not None:
        stages.append(optax.ema(momentum, debias=False, accumulator_dtype=momentum_dtype))
    if multiply_by_parameter_scale:
        stages.append(_scale_by_param_rms(min_parameter_scale))
    stages.append(
        descend(
            learning_rate=learning_rate,
            update_schedule=update_schedule,
            weight_decay=learning_rate * weight_decay,
            weight_decay_per_param_scale=weight_decay_per_param_scale,
            learning_rate_per_param_scale=learning_rate_per_param_scale,
        )
    )
    return optax.chain(*stages)


def _per_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return `inner`, run on each parameter, and each layer of a stacked one, by itself.

    Its state is a tree of states, one per parameter; those of a stack have a first dim of layers.
    """

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        structure = jax.tree.structure(updates)
        outputs = structure.flatten_up_to(map_per_layer(inner.update, updates, state, params))
        return tuple(structure.unflatten(parts) for parts in zip(*outputs, strict=True))

    return optax.GradientTransformation(lambda params: map_per_layer(inner.init, params), update)


def _scale_by_param_rms(min_scale: float) -> optax.GradientTransformation:
    """Return max(min_scale, rms(p)) · u for each parameter and layer: step sizes relative to p.

    (Algorithm 4's α, of section 8; `min_scale` is its ε₂.)
    """

    def scaled(u: jax.Array, p: jax.Array) -> jax.Array:
        return u * jnp.maximum(min_scale, jnp.sqrt(jnp.mean(jnp.square(p))))

    return optax.stateless(lambda updates, params: map_per_layer(scaled, updates, params))
