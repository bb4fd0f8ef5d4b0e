"""The step downhill: what every optimizer does with its direction."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.optim.context import add_param_factors, add_summary
from axl_exp.optim.per_param import PerParamScale
from axl_exp.optim.schedule import Schedule


def descend(
    *,
    learning_rate: float,
    update_schedule: ConfigOr[Schedule],
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    learning_rate_per_param_scale: ConfigOr[PerParamScale] | None = None,
) -> optax.GradientTransformation:
    """Return Δp = -s(t) · l · (learning_rate · u + weight_decay · w · p) for a direction u.

    s is the schedule, t is 1 for the first update, l and w are the parameter's own scales, 1 where
    there are none. Reports `learning_rate`, s(t) · learning_rate.

    The decay is a rate of its own here; in the convention of PyTorch and Llama, where it is a
    multiple of the learning rate, it is that product.
    """
    schedule = maybe_instantiate(update_schedule)
    decay_scales_of = maybe_instantiate(weight_decay_per_param_scale)
    rate_scales_of = maybe_instantiate(learning_rate_per_param_scale)

    def init(params: Any) -> Any:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        """Return Δp of the direction `updates`, and the state with t counted."""
        count = state.count + 1
        factor = schedule(count)
        decay_scales = _scales(decay_scales_of, updates)
        rate_scales = _scales(rate_scales_of, updates)
        add_summary("learning_rate", factor * learning_rate)
        add_param_factors("update_scale", rate_scales)
        add_param_factors(
            "weight_decay",
            jax.tree.map(lambda w, r: weight_decay * w * r, decay_scales, rate_scales),
        )
        if learning_rate != 1.0:
            updates = jax.tree.map(lambda u: learning_rate * u, updates)
        if weight_decay:
            updates = jax.tree.map(
                lambda u, p, scale: u + weight_decay * scale * p,
                updates,
                params,
                decay_scales,
            )
        updates = jax.tree.map(lambda u, scale: -factor * scale * u, updates, rate_scales)
        return updates, optax.ScaleByScheduleState(count)

    return optax.GradientTransformation(init, update)


def _scales(scales_of: PerParamScale | None, tree: Any) -> Any:
    """Return l or w of every parameter; 1 where there is no rule."""
    return jax.tree.map(lambda _: 1.0, tree) if scales_of is None else scales_of(tree)
