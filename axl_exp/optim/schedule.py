"""Schedules: what the learning rate is multiplied with at each step, counted from 1.

A schedule is a function from the step, an int32 scalar, to a float32 scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def as_schedule(value: float | ConfigOr[Schedule]) -> Schedule:
    """Return the schedule that a number, a schedule or a config of one stands for."""
    schedule = maybe_instantiate(value)
    return constant(schedule) if isinstance(schedule, int | float) else schedule


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
    decay_begin_step: int | None = None,
) -> Schedule:
    """Return a linear rise to `peak_lr`, then half a cosine down to `alpha * peak_lr`.

    With t the step, W `warmup_steps`, D `decay_begin_step` and T `max_step`: 0 for t ≤ 0; for t ≤ W
    begin_value + t/W · (peak_lr - begin_value); peak_lr until D, which is W if it is None or
    earlier; then peak_lr · ((1 - alpha) · (1 + cos(π · min(t - D, T - D) / (T - D))) / 2 + alpha),
    which stays at alpha · peak_lr after T (cosine of Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983).

    Raises:
        UserError: The warm-up, or the plateau, does not end before max_step.
    """
    if not 0 <= warmup_steps < max_step:
        raise UserError(
            f"cosine_with_linear_warmup: warmup_steps {warmup_steps} must be below max_step "
            f"{max_step}; set learner.optimizer.update_schedule.warmup_steps."
        )
    begin_step = max(warmup_steps, decay_begin_step or 0)
    if begin_step >= max_step:
        raise UserError(
            f"cosine_with_linear_warmup: decay_begin_step {decay_begin_step} must be below "
            f"max_step {max_step}; set learner.optimizer.update_schedule.decay_begin_step."
        )
    return _rise_then_fall(
        _half_cosine,
        peak_lr=peak_lr,
        warmup_steps=warmup_steps,
        begin_value=begin_value,
        fall_begin_step=begin_step,
        fall_steps=max_step - begin_step,
        alpha=alpha,
    )


def _half_cosine(share: jax.Array) -> jax.Array:
    """Return (1 + cos(π · share)) / 2."""
    return 0.5 * (1 + jnp.cos(jnp.pi * share))


# How a decay goes from 1 to 0, as a function of the share of it that is done.
_DECAYS = {
    "linear": lambda share: 1 - share,
    "cosine": _half_cosine,
    "one_minus_sqrt": lambda share: 1 - jnp.sqrt(share),
}


def warmup_stable_decay(
    peak_lr: float,
    *,
    max_step: int,
    decay_steps: int,
    warmup_steps: int = 500,
    begin_value: float = 0.0,
    alpha: float = 0.0,
    decay: Literal["linear", "cosine", "one_minus_sqrt"] = "one_minus_sqrt",
) -> Schedule:
    """Return a linear rise to `peak_lr`, a plateau, and a decay to `alpha * peak_lr` at max_step.

    With t the step, W `warmup_steps`, T `max_step`, D `decay_steps` and s = (t - (T - D)) / D: 0
    for t ≤ 0; for t ≤ W begin_value + t/W · (peak_lr - begin_value); peak_lr until T - D; then
    peak_lr · ((1 - alpha) · f(s) + alpha), which stays at alpha · peak_lr after T. f(s) is 1 - s,
    (1 + cos πs) / 2 or 1 - √s (Hu et al. 2024, https://arxiv.org/abs/2404.06395, section 4; the
    last is that of Hägele et al. 2024, https://arxiv.org/abs/2405.18392). Without decay steps it
    stays on the plateau.

    Raises:
        UserError: Warm-up and decay together are longer than max_step, or `decay` has no such name.
    """
    where = "learner.optimizer.update_schedule"
    if min(warmup_steps, decay_steps) < 0 or warmup_steps + decay_steps > max_step:
        raise UserError(
            f"warmup_stable_decay: warmup_steps {warmup_steps} and decay_steps {decay_steps} must "
            f"fit into max_step {max_step}; set {where}.decay_steps."
        )
    if decay not in _DECAYS:
        raise UserError(
            f"warmup_stable_decay: decay {decay!r} is none of {', '.join(_DECAYS)}; "
            f"set {where}.decay."
        )
    return _rise_then_fall(
        _DECAYS[decay] if decay_steps else jnp.ones_like,
        peak_lr=peak_lr,
        warmup_steps=warmup_steps,
        begin_value=begin_value,
        fall_begin_step=max_step - decay_steps,
        fall_steps=decay_steps,
        alpha=alpha,
    )


def _rise_then_fall(
    fall: Callable[[jax.Array], jax.Array],
    *,
    peak_lr: float,
    warmup_steps: int,
    begin_value: float,
    fall_begin_step: int,
    fall_steps: int,
    alpha: float,
) -> Schedule:
    """Return 0, the linear rise, then peak_lr · ((1 - alpha) · fall(share of the fall) + alpha).

    `fall` takes 0 to 1 and gives 1 to 0; before the fall begins its share is 0: the plateau.
    """

    def value_at(step: jax.Array) -> jax.Array:
        step = _float(step)
        rise = begin_value + step / max(warmup_steps, 1) * (peak_lr - begin_value)
        share = jnp.clip((step - fall_begin_step) / max(fall_steps, 1), 0.0, 1.0)
        after = peak_lr * ((1 - alpha) * fall(share) + alpha)
        return jnp.where(step <= 0, 0.0, jnp.where(step <= warmup_steps, rise, after))

    return value_at


def decay_bias_correction(decay: float) -> Schedule:
    """Return decay · (1 - decay^(t-1)) / (1 - decay^t): a running mean with it needs no debiasing.

    It begins at 0, so that the first value counts whole (Shazeer and Stern 2018,
    https://arxiv.org/abs/1804.04235, section 7.1).
    """

    def value_at(step: jax.Array) -> jax.Array:
        step = _float(step)
        return decay * (1 - decay ** (step - 1)) / (1 - decay**step)

    return value_at


def _float(step: jax.Array) -> jax.Array:
    return jnp.asarray(step, jnp.float32)
