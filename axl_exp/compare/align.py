"""Two series of one metric, paired by step, and where they part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from axl_exp.run.series import Series, find


@dataclass(frozen=True)
class Paired:
    """The steps that both series have, ascending, and both values at each."""

    steps: np.ndarray
    a: np.ndarray
    b: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def tail(self, num_steps: int) -> Paired:
        """Return the last `num_steps` pairs."""
        return Paired(self.steps[-num_steps:], self.a[-num_steps:], self.b[-num_steps:])


class Cause(Enum):
    """What can part two runs at the step where they part; the value is what a reader is told."""

    START = "initialisation, data, or the arithmetic of the forward pass: apart from the first step"
    UPDATE = "gradients or the optimizer: the first step is equal, the second is not"
    LATER = (
        "the order of reductions, nondeterminism, rounding, "
        "or a setting that acts from here on: the first steps are equal"
    )
    UNKNOWN = "the runs do not share their first step, so the cause cannot be told from the step"


@dataclass(frozen=True)
class Parting:
    """The first paired step at which two series differ.

    Attributes:
        step: That step.
        a: Value of A there.
        b: Value of B there.
        num_equal_steps: Paired steps before it, all equal to the bit.
        ulps: Distance in units of float32's last place; None where a value is not finite.
    """

    step: int
    a: float
    b: float
    num_equal_steps: int
    ulps: float | None


def pair(a: Series | None, b: Series | None) -> Paired:
    """Return the values of both series at the steps that both have; empty where one is missing."""
    if a is None or b is None:
        nothing = np.array([])
        return Paired(nothing, nothing, nothing)
    if a.has_steps_of(b):
        return Paired(a.steps, a.values, b.values)
    steps_a, steps_b = a.steps, b.steps
    if np.array_equal(steps_a, steps_b):  # As most pairs are.
        return Paired(steps_a, a.values, b.values)
    if len(a) < len(b):
        in_b, has = find(steps_b, steps_a)
        return Paired(steps_b[in_b], a.values[has], b.values[in_b])
    in_a, has = find(steps_a, steps_b)
    return Paired(steps_a[in_a], a.values[in_a], b.values[has])


def pair_pieces(a: Series, b: Series) -> Iterator[Paired]:
    """Yield what `pair` returns, in pieces: two metrics of one run need not be held whole."""
    if not a.has_steps_of(b):
        yield pair(a, b)
        return
    for (steps, of_a), (_, of_b) in zip(a.pieces(), b.pieces(), strict=True):
        yield Paired(steps, of_a, of_b)


def parting(paired: Paired) -> Parting | None:
    """Return where the two first differ by at least one bit, None where they never do.

    Two NaN are equal; 0.0 and -0.0 are too.
    """
    differ = (paired.a != paired.b) & ~(np.isnan(paired.a) & np.isnan(paired.b))
    if not differ.any():
        return None
    i = int(np.argmax(differ))
    a, b = float(paired.a[i]), float(paired.b[i])
    finite = np.isfinite(a) and np.isfinite(b)
    return Parting(
        step=int(paired.steps[i]),
        a=a,
        b=b,
        num_equal_steps=i,
        ulps=abs(a - b) / float(np.spacing(np.float32(max(abs(a), abs(b))))) if finite else None,
    )


def cause(parted: Parting, *, a: Series, b: Series) -> Cause:
    """Return what can have parted two runs whose losses are `a` and `b`.

    Told by the number of equal steps since the start, so both must begin at the same step.
    """
    if a.steps[0] != b.steps[0]:
        return Cause.UNKNOWN
    return {0: Cause.START, 1: Cause.UPDATE}.get(parted.num_equal_steps, Cause.LATER)
