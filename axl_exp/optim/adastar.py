"""Adastar, the optimizer of AXLearn's honeycrisp; AdamW and unfactored Adafactor are its cases."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.optim.clipping import clip_by_block_rms
from axl_exp.optim.descent import descend
from axl_exp.optim.per_param import PerParamScale, add_rms_summaries
from axl_exp.optim.schedule import Schedule


class AdastarState(NamedTuple):
    """Running means, each a tree like the parameters, or None where there is none."""

    count: jax.Array
    gradient_ema: Any
    gradient_square_ema: Any
    update_ema: Any


def adastar_optimizer(
    learning_rate: float,
    *,
    gradient_ema_decay: float | None,
    gradient_ema_debias: bool | None,
    gradient_square_ema_decay: float,
    gradient_square_ema_debias: bool,
    eps: float,
    eps_square: float,
    raw_update_clipping_threshold: float | None,
    update_ema_decay: float | None,
    update_ema_debias: bool | None,
    adam_update_transformation: ConfigOr[optax.GradientTransformation] | None = None,
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    update_schedule: ConfigOr[Schedule],
    ema_dtype: Any = None,
    verbosity: int = 0,
) -> optax.GradientTransformation:
    """Return Δp = -s(t) · (learning_rate · u + weight_decay · w · p), with u from these stages.

        m = EMA(g; gradient_ema_decay)                              or g
        v = EMA(g² + eps_square; gradient_square_ema_decay)
        r = m / (√v + eps)
        r = r / max(1, rms(r) / raw_update_clipping_threshold)      for each layer of a stack apart
        u = adam_update_transformation(EMA(r; update_ema_decay))    or of r itself

    EMA(x; β) is β · EMA + (1 - β) · x from 0, divided by 1 - β^t if it is debiased; s is the
    schedule, w the parameter's own scale, t is 1 for the first update. The decay is not multiplied
    with the learning rate. The field names and the equations are those of AXLearn's optimizer.

    Args:
        learning_rate: The rate where the schedule is 1.
        gradient_ema_decay: β of m; None: m is g.
        gradient_ema_debias: Whether m is debiased.
        gradient_square_ema_decay: β of v.
        gradient_square_ema_debias: Whether v is debiased.
        eps, eps_square: Added to √v, and to g².
        raw_update_clipping_threshold: The largest root mean square of r; None for no limit.
        update_ema_decay, update_ema_debias: Of the mean of r; None: r itself.
        adam_update_transformation: Applied before rate and decay; None: u as it is.
        weight_decay: How much of p an update takes away where the schedule is 1.
        weight_decay_per_param_scale: w; None is 1 everywhere.
        update_schedule: s, from step 1.
        ema_dtype: In which the means of g and r are kept; None: the parameter's, as that of g².
        verbosity: Above 0, reports `raw_update_rms/<path>`, of r before clipping, and
            `update_rms/<path>`, of u before its transformation.
    """
    stages = [
        _raw_updates(
            gradient_ema=_Ema(gradient_ema_decay, gradient_ema_debias, ema_dtype),
            gradient_square_ema=_Ema(gradient_square_ema_decay, gradient_square_ema_debias),
            update_ema=_Ema(update_ema_decay, update_ema_debias, ema_dtype),
            eps=eps,
            eps_square=eps_square,
            clip=clip_by_block_rms(raw_update_clipping_threshold),
            reports=verbosity > 0,
        )
    ]
    if adam_update_transformation is not None:
        stages.append(maybe_instantiate(adam_update_transformation))
    stages.append(
        descend(
            learning_rate=learning_rate,
            update_schedule=update_schedule,
            weight_decay=weight_decay,
            weight_decay_per_param_scale=weight_decay_per_param_scale,
        )
    )
    return optax.chain(*stages)


@dataclasses.dataclass(frozen=True)
class _Ema:
    """A running mean from 0; without a decay, no mean at all."""

    decay: float | None
    debias: bool | None
    # In which it is kept; None for the parameter's.
    dtype: Any = None

    def init(self, params: Any) -> Any:
        return None if self.decay is None else optax.tree.zeros_like(params, dtype=self.dtype)

    def update(self, x: Any, ema: Any, *, count: jax.Array) -> tuple[Any, Any]:
        """Return what stands for x, and the state; `count` is t, 1 for the first update."""
        decay = self.decay
        if decay is None:
            return x, None
        new = jax.tree.map(lambda e, x: decay * e.astype(x.dtype) + (1 - decay) * x, ema, x)
        kept = optax.tree.cast_like(new, ema)
        return optax.tree.bias_correction(new, decay, count) if self.debias else new, kept


def _raw_updates(
    *,
    gradient_ema: _Ema,
    gradient_square_ema: _Ema,
    update_ema: _Ema,
    eps: float,
    eps_square: float,
    clip: optax.GradientTransformation,
    reports: bool,
) -> optax.GradientTransformation:
    """Return the stages of `adastar_optimizer` up to the mean of r: m, v, r, its clipping."""

    def init(params: Any) -> Any:
        return AdastarState(
            count=jnp.zeros((), jnp.int32),
            gradient_ema=gradient_ema.init(params),
            gradient_square_ema=gradient_square_ema.init(params),
            update_ema=update_ema.init(params),
        )

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        """Return u of the gradients g, without its transformation; the means are the state."""
        del params
        count = state.count + 1
        squares = jax.tree.map(lambda g: g**2 + eps_square, updates)
        m, m_state = gradient_ema.update(updates, state.gradient_ema, count=count)
        v, v_state = gradient_square_ema.update(squares, state.gradient_square_ema, count=count)
        r = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), m, v)
        clipped, _ = clip.update(r, optax.EmptyState())
        u, u_state = update_ema.update(clipped, state.update_ema, count=count)
        if reports:
            add_rms_summaries("raw_update_rms", r)
            add_rms_summaries("update_rms", u)
        return u, AdastarState(count, m_state, v_state, u_state)

    return optax.GradientTransformation(init, update)
