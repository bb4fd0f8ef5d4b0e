"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), through optax."""

from __future__ import annotations

import math
from typing import Any

import jax
import optax
from optax import contrib

from axl_exp.config import ConfigOr
from axl_exp.errors import UserError
from axl_exp.optim.context import logical_axes_of
from axl_exp.optim.descent import descend
from axl_exp.optim.per_param import PerParamScale, map_with_path
from axl_exp.optim.schedule import Schedule


def muon(
    learning_rate: float,
    *,
    update_schedule: ConfigOr[Schedule],
    momentum: float = 0.95,
    nesterov: bool = True,
    newton_schulz_steps: int = 5,
    update_rms: float = 0.2,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_decay_per_param_scale: ConfigOr[PerParamScale] | None = None,
    learning_rate_per_param_scale: ConfigOr[PerParamScale] | None = None,
    mu_dtype: Any = None,
) -> optax.GradientTransformation:
    """Return Δp = -learning_rate · s(t) · l · (u + weight_decay · w · p), u being orthogonal.

    For the matrices within layers, u = update_rms · √max(m, n) · NS(M), with M the momentum as an
    [m, n] matrix and NS the Newton-Schulz iteration towards the nearest orthogonal matrix. The
    factor makes its size that of Adam's updates, so one rate and one decay serve both (Liu et al.
    2025, https://arxiv.org/abs/2502.16982, section 2.2). Everything else (embedding, head, norms)
    has Adam's u.

    A parameter is such a matrix if one of its logical axes is `embed`: that dim against all others
    together, each layer of a stack apart; query, key and value of a fused weight are one matrix.

    Args:
        learning_rate: The rate where the schedule is 1.
        update_schedule: s, from step 1.
        momentum: How much of M stays at each step.
        nesterov: Whether M looks one step ahead.
        newton_schulz_steps: Iterations of NS.
        update_rms: The root mean square of u for an orthogonal matrix.
        b1: How much of Adam's m stays at each step.
        b2: How much of Adam's v stays at each step.
        eps: Added to Adam's √v̂, and to the norm of M.
        weight_decay: How much of p the update takes away, in units of the rate.
        weight_decay_per_param_scale: w; None is 1 everywhere.
        learning_rate_per_param_scale: l; None is 1 everywhere.
        mu_dtype: The dtype in which M and m are kept; None for the parameter's.

    Raises:
        UserError: In `init`: the Learner was not told the logical axes of the parameters.
    """
    orthogonal = contrib.scale_by_muon(
        beta=momentum,
        nesterov=nesterov,
        ns_steps=newton_schulz_steps,
        eps=eps,
        mu_dtype=mu_dtype,
        weight_dimension_numbers=_matrices,
    )
    adam = optax.scale_by_adam(b1, b2, eps, mu_dtype=mu_dtype)
    matrices = optax.chain(orthogonal, _scale_to_rms(update_rms))
    return optax.chain(
        optax.partition({"muon": matrices, "adam": adam}, _labels),
        descend(
            learning_rate=learning_rate,
            update_schedule=update_schedule,
            weight_decay=learning_rate * weight_decay,
            weight_decay_per_param_scale=weight_decay_per_param_scale,
            learning_rate_per_param_scale=learning_rate_per_param_scale,
        ),
    )


def _scale_to_rms(rms: float) -> optax.GradientTransformation:
    """Return rms · √max(m, n) · update, so that an orthogonal [m, n] has this root mean square."""

    def scaled(path: str, u: jax.Array) -> jax.Array:
        rows, columns = _matrix(path)
        return rms * math.sqrt(max(u.shape[rows], math.prod(u.shape[i] for i in columns))) * u

    return optax.stateless(lambda updates, params: map_with_path(scaled, updates))


def _labels(params: Any) -> Any:
    return map_with_path(lambda path, _: "muon" if _matrix(path) else "adam", params)


def _matrices(params: Any) -> Any:
    return map_with_path(lambda path, _: _matrix(path), params)


def _matrix(path: str) -> Any:
    """Return the MuonDimensionNumbers of a parameter; None if it is no matrix of a layer."""
    axes = logical_axes_of(path)
    if axes is None:
        raise UserError(
            "muon: which parameters are matrices is read from their logical axes; make the Learner "
            "with instantiate(logical_axes=...), as SpmdTrainer does."
        )
    others = tuple(i for i, axis in enumerate(axes) if axis not in ("layers", "embed"))
    if "embed" not in axes or not others:
        return None
    return contrib.MuonDimensionNumbers(axes.index("embed"), others)
