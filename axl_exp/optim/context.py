"""What a transformation may know and say beyond its arguments, while a Learner runs it.

optax hands a transformation bare arrays. A Learner adds, for the time of one call, the logical axes
of each parameter, so that a stack of layers is told from one tensor; and it collects the scalars
that transformations have to report, wherever they sit in a chain, and whatever wraps them.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from axl_exp.errors import UserError

# The logical axes of each dim of a parameter, by its path: `{"decoder/emb/weight": ("vocab", …)}`.
LogicalAxes = Mapping[str, tuple[str, ...]]


@dataclasses.dataclass
class LearnerContext:
    """The surroundings of one call.

    Attributes:
        logical_axes: Of every parameter; None where the Learner was told of none.
        summaries: Float or int scalars, by name.
        param_factors: Numbers of each parameter, by name and path, known when a call is traced:
            `{"weight_decay": {"decoder/emb/weight": 0.1}}`. A context within another shares them,
            so that whoever traces a Learner can read them.
    """

    logical_axes: LogicalAxes | None = None
    summaries: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    param_factors: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


_current: contextvars.ContextVar[LearnerContext | None] = contextvars.ContextVar(
    "learner_context", default=None
)


@contextlib.contextmanager
def learner_context(logical_axes: LogicalAxes | None) -> Iterator[LearnerContext]:
    """Make a new context the current one while the block runs."""
    context, outer = LearnerContext(logical_axes), _current.get()
    if outer is not None:
        context.param_factors = outer.param_factors
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


@contextlib.contextmanager
def nobody_listens() -> Iterator[None]:
    """Let what is reported while the block runs reach no context around it."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def add_summary(name: str, value: jax.Array) -> None:
    """Report a scalar of this update, for the step's record; without a Learner nobody listens.

    Raises:
        UserError: Another part of the same optimizer reports under this name.
    """
    context = _current.get()
    if context is None:
        return
    if name in context.summaries:
        raise UserError(
            f"learner: two transformations report {name!r}, so one of them is there twice (say, "
            "learner.gradient_clipping beside a max_norm of the optimizer); drop one."
        )
    context.summaries[name] = value


def add_param_factors(name: str, factors: Any) -> None:
    """Report a number of each parameter; of several under one name the parameter has the product.

    Args:
        name: `weight_decay`, what of the parameter an update takes away where the schedule is 1; or
            `update_scale`, what its update is multiplied with besides the learning rate.
        factors: Nested dict of numbers, one per parameter.
    """
    context = _current.get()
    if context is None:
        return
    factor_of = context.param_factors.setdefault(name, {})
    for keys, factor in jax.tree_util.tree_leaves_with_path(factors):
        path = "/".join(str(key.key) for key in keys)
        factor_of[path] = factor_of.get(path, 1.0) * factor


def logical_axes_of(path: str) -> tuple[str, ...] | None:
    """Return the logical axes of the parameter at `path`; None where they are not known."""
    context = _current.get()
    if context is None or context.logical_axes is None:
        return None
    return context.logical_axes[path]
