"""AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.optim.schedule import Schedule


class LearningRateState(NamedTuple):
    """How many updates were made, and the learning rate of the last of them."""

    count: jax.Array
    learning_rate: jax.Array


def scale_by_learning_rate(
    learning_rate: float, *, update_schedule: ConfigOr[Schedule]
) -> optax.GradientTransformation:
    """Return -learning_rate · update_schedule(t) · update, where t is 1 for the first update.

    The rate of each update stays in the state, as `learning_rate`, for the record.
    """
    schedule = maybe_instantiate(update_schedule)

    def init(params):
        del params
        return LearningRateState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32))

    def update(updates, state, params=None):
        del params
        count = state.count + 1
        rate = learning_rate * schedule(count)
        return jax.tree.map(lambda u: -rate * u, updates), LearningRateState(count, rate)

    return optax.GradientTransformation(init, update)


def adamw(
    learning_rate: float,
    *,
    update_schedule: ConfigOr[Schedule],
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    mu_dtype: Any = None,
) -> optax.GradientTransformation:
    """Return AdamW: Δp = -learning_rate · update_schedule(t) · (m̂ / (√v̂ + eps) + weight_decay · p).

    m and v are the running means of g and g², m̂ and v̂ are free of their start at 0. Every parameter
    decays, scales and embeddings too, as in Llama's and PyTorch's convention: the decay is
    multiplied with the learning rate.

    Args:
        learning_rate: The rate where the schedule is 1.
        update_schedule: Its factor at each step, from 1.
        b1: How much of m stays at each step.
        b2: How much of v stays at each step.
        eps: Added to √v̂.
        weight_decay: How much of p the update takes away, in units of the rate.
        mu_dtype: The dtype in which m is kept; None for the parameter's.
    """
    return optax.chain(
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype),
        optax.add_decayed_weights(weight_decay),
        scale_by_learning_rate(learning_rate, update_schedule=update_schedule),
    )
