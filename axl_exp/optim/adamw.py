"""AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2)."""

from __future__ import annotations

from typing import Any

import optax

from axl_exp.config import ConfigOr
from axl_exp.optim.descent import descend
from axl_exp.optim.per_param import PerParamScale
from axl_exp.optim.schedule import Schedule


def adamw(
    learning_rate: float,
    *,
    update_schedule: ConfigOr[Schedule],
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    learning_rate_per_param_scale: ConfigOr[PerParamScale] | None = None,
    mu_dtype: Any = None,
) -> optax.GradientTransformation:
    """Return Δp = -learning_rate · s(t) · l · (m̂ / (√v̂ + eps) + weight_decay · w · p).

    m and v are the running means of g and g², m̂ and v̂ are free of their start at 0; s is the
    schedule, l and w are the parameter's own scales. Without scales every parameter decays, norms
    and embeddings too, as in Llama's and PyTorch's convention: the decay is multiplied with the
    learning rate.

    Args:
        learning_rate: The rate where the schedule is 1.
        update_schedule: s, from step 1.
        b1: How much of m stays at each step.
        b2: How much of v stays at each step.
        eps: Added to √v̂.
        weight_decay: How much of p the update takes away, in units of the rate.
        weight_decay_per_param_scale: w; None is 1 everywhere.
        learning_rate_per_param_scale: l; None is 1 everywhere.
        mu_dtype: The dtype in which m is kept; None for the parameter's.
    """
    return optax.chain(
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype),
        descend(
            learning_rate=learning_rate,
            update_schedule=update_schedule,
            weight_decay=learning_rate * weight_decay,
            weight_decay_per_param_scale=weight_decay_per_param_scale,
            learning_rate_per_param_scale=learning_rate_per_param_scale,
        ),
    )
