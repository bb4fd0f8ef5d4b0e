"""Schedules: what the learning rate is multiplied with at each step, counted from 1.

A schedule is a function from the step, an int32 scalar, to a float32 scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from axl_exp.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def constant(value: float = 1.0) -> Schedule:
    """Return the schedule that is `value` at every step."""
    return lambda step: jnp.full_like(step, value, dtype=jnp.float32)


def linear(
    *, max_step: int, begin_step: int = 0, begin_value: float = 0.0, end_value: float = 1.0
) -> Schedule:
    """Return the straight line from (begin_step, begin_value) to (max_step, end_value).

    Before and after, it stays at the value of that end.

    Raises:
        UserError: max_step is not after begin_step.
    """
    if max_step <= begin_step:
        raise UserError(f"linear: max_step {max_step} must be above begin_step {begin_step}.")

    def value_at(step: jax.Array) -> jax.Array:
        share = jnp.clip((_float(step) - begin_step) / (max_step - begin_step), 0.0, 1.0)
        return begin_value + share * (end_value - begin_value)

    return value_at


def cosine_with_linear_warmup(
    peak_lr: float,
    *,
    max_step: int,
    warmup_steps: int = 500,
    begin_value: float = 0.0,
    alpha: float = 0.0,
) -> Schedule:
    """Return a linear rise to `peak_lr`, then half a cosine down to `alpha * peak_lr`.

    With t the step, W `warmup_steps` and T `max_step`: 0 for t ≤ 0; for t ≤ W
    begin_value + t/W · (peak_lr - begin_value); then
    peak_lr · ((1 - alpha) · (1 + cos(π · min(t - W, T - W) / (T - W))) / 2 + alpha), which stays at
    alpha · peak_lr after T (cosine of Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).

    Raises:
        UserError: The warm-up does not end before max_step.
    """
    if not 0 <= warmup_steps < max_step:
        raise UserError(
            f"cosine_with_linear_warmup: warmup_steps {warmup_steps} must be below max_step "
            f"{max_step}; set learner.optimizer.update_schedule.warmup_steps."
        )

    def value_at(step: jax.Array) -> jax.Array:
        step = _float(step)
        rise = begin_value + step / max(warmup_steps, 1) * (peak_lr - begin_value)
        share = jnp.clip((step - warmup_steps) / (max_step - warmup_steps), 0.0, 1.0)
        fall = peak_lr * ((1 - alpha) * 0.5 * (1 + jnp.cos(jnp.pi * share)) + alpha)
        return jnp.where(step <= 0, 0.0, jnp.where(step <= warmup_steps, rise, fall))

    return value_at


def _float(step: jax.Array) -> jax.Array:
    return jnp.asarray(step, jnp.float32)
