"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import optax

from axl_exp.config import ConfigOr
from axl_exp.optim.descent import descend
from axl_exp.optim.per_param import PerParamScale
from axl_exp.optim.schedule import Schedule


def sgd(
    learning_rate: float,
    *,
    update_schedule: ConfigOr[Schedule],
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    learning_rate_per_param_scale: ConfigOr[PerParamScale] | None = None,
    momentum_dtype: Any = None,
) -> optax.GradientTransformation:
    """Return Δp = -learning_rate · s(t) · l · (u + weight_decay · w · p), with momentum in u.

    m = g + momentum · m; u = m, or g + momentum · m with Nesterov's look-ahead (Sutskever et al.
    2013, https://proceedings.mlr.press/v28/sutskever13.html). The decay is decoupled: it does not
    pass through m.

    Args:
        learning_rate: The rate where the schedule is 1.
        update_schedule: s, from step 1.
        momentum: How much of m stays at each step; 0 keeps no m.
        nesterov: Whether u looks ahead.
        weight_decay: How much of p the update takes away, in units of the rate.
        weight_decay_per_param_scale: w; None is 1 everywhere.
        learning_rate_per_param_scale: l; None is 1 everywhere.
        momentum_dtype: The dtype in which m is kept; None for the parameter's.
    """
    direction = (
        optax.trace(decay=momentum, nesterov=nesterov, accumulator_dtype=momentum_dtype)
        if momentum
        else optax.identity()
    )
    return optax.chain(
        direction,
        descend(
            learning_rate=learning_rate,
            update_schedule=update_schedule,
            weight_decay=learning_rate * weight_decay,
            weight_decay_per_param_scale=weight_decay_per_param_scale,
            learning_rate_per_param_scale=learning_rate_per_param_scale,
        ),
    )
