"""The running mean of the parameters, which is what evaluation looks at."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr
from axl_exp.optim.schedule import Schedule, as_schedule


class ParamEmaState(NamedTuple):
    """How many updates were averaged, and the mean: a tree like the parameters."""

    count: jax.Array
    ema: Any


def param_ema(*, decay: float | ConfigOr[Schedule] | None = None) -> optax.GradientTransformation:
    """Return the keeper of ema ← decay · ema + (1 - decay) · p, from zeros; None keeps nothing.

    Hand it the parameters after each update; updates pass through. From zeros, a constant decay
    gives a mean that is too small by 1 - decay^t: `decay_bias_correction` is the decay without that
    (Polyak and Juditsky 1992; the correction of https://arxiv.org/abs/1804.04235, section 7.1).

    Args:
        decay: A number, or a schedule from step 1.
    """
    if decay is None:
        return optax.identity()
    decay_at = as_schedule(decay)

    def init(params: Any) -> Any:
        return ParamEmaState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        """Return `updates` as they are; `params` are those that they have led to."""
        count = state.count + 1
        d = decay_at(count)
        ema = jax.tree.map(lambda e, p: (d * e + (1 - d) * p).astype(e.dtype), state.ema, params)
        return updates, ParamEmaState(count, ema)

    return optax.GradientTransformation(init, update)
