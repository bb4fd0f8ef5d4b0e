"""Dynamic loss scaling: float16 gradients, kept between underflow and overflow.

The loss is multiplied with a scale before it is differentiated, and the gradients are divided by it
in float32; a step whose gradients overflowed is not taken (Micikevicius et al. 2018,
https://arxiv.org/abs/1710.03740, section 3.2). When the scale moves is Megatron-LM's rule.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from axl_exp.errors import UserError


class LossScaleState(NamedTuple):
    """What a LossScaler carries from step to step."""

    # The scale of the next step, float32.
    scale: jax.Array
    # Steps taken since the last overflow or growth.
    good_steps: jax.Array
    # The scale is halved by the overflow that brings this to 0, and by those after it.
    hysteresis_left: jax.Array
    # Steps that were not taken, in all.
    num_skipped: jax.Array


@dataclasses.dataclass(frozen=True)
class LossScaler:
    """Doubles the scale after good steps, halves it at overflows; see `dynamic_loss_scaler`."""

    initial_scale: float
    window: int
    hysteresis: int
    min_scale: float

    def init(self) -> LossScaleState:
        """Return the state before the first step."""
        return LossScaleState(
            scale=jnp.asarray(self.initial_scale, jnp.float32),
            good_steps=jnp.zeros((), jnp.int32),
            hysteresis_left=jnp.asarray(self.hysteresis, jnp.int32),
            num_skipped=jnp.zeros((), jnp.int32),
        )

    def updated(self, state: LossScaleState, *, is_finite: jax.Array) -> LossScaleState:
        """Return the state after a step whose gradients were finite, or were not."""
        good_steps = state.good_steps + 1
        grows = is_finite & (good_steps == self.window)
        left = jnp.where(is_finite, state.hysteresis_left, state.hysteresis_left - 1)
        shrinks = ~is_finite & (left <= 0)
        halved = jnp.maximum(state.scale / 2, self.min_scale)
        return LossScaleState(
            scale=jnp.where(grows, state.scale * 2, jnp.where(shrinks, halved, state.scale)),
            good_steps=jnp.where(is_finite & ~grows, good_steps, 0),
            # Full again only when the scale grew: until then every further overflow halves it.
            hysteresis_left=jnp.where(grows, self.hysteresis, left),
            num_skipped=state.num_skipped + ~is_finite,
        )


def dynamic_loss_scaler(
    *,
    initial_scale: float = 2.0**32,
    window: int = 1000,
    hysteresis: int = 2,
    min_scale: float = 1.0,
) -> LossScaler:
    """Return the rule of Megatron-LM, with its defaults.

    The scale doubles after `window` steps without overflow. The first `hysteresis` - 1 overflows
    since it last doubled leave it, each later one halves it.

    Args:
        initial_scale: Of the first step; powers of 2 cost no precision.
        window: Steps without overflow before the scale doubles.
        hysteresis: The overflow, counted from the last growth, from which on the scale is halved.
        min_scale: The least scale.

    Raises:
        UserError: A number is not above 0.
    """
    numbers = {
        "initial_scale": initial_scale,
        "window": window,
        "hysteresis": hysteresis,
        "min_scale": min_scale,
    }
    for name, value in numbers.items():
        if not value > 0:
            raise UserError(f"learner.loss_scaler.{name} is {value}: it must be above 0.")
    return LossScaler(initial_scale, window, hysteresis, min_scale)
