"""The training losses of two runs, paired by step: where they part, by how much, and from what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from axl_exp.compare.align import Cause, Paired, Parting, cause, pair, parting
from axl_exp.compare.figures import TRAIN_LOSS
from axl_exp.compare.load import Run

# What is watched beside the loss to tell where a difference comes from, in the order of a step.
_WATCHED = (TRAIN_LOSS, "train/gradient_norm", "train/learning_rate", "train/num_targets")


@dataclass(frozen=True)
class LossComparison:
    """The training losses of two runs, step by step.

    Attributes:
        num_paired: Steps that both runs have.
        window: First and last of them.
        parting: Where they part; None where they never do.
        cause: What can have parted them there; None where they never do.
        first_apart: For each watched metric the first step at which it differs, None for never.
        share_higher: Of the paired steps that differ, the share at which B is higher.
        quantum: The unit of the last digit printed, where a side was printed; 0 where none was.
        quanta_apart: Least and most of the differences, in that unit; None where it is 0.
        growth: Mean of |B - A| over the first tenth of the steps since they part, and over the
            last; None where those are fewer than ten.
    """

    num_paired: int
    window: tuple[int, int] | None
    parting: Parting | None
    cause: Cause | None
    first_apart: dict[str, int | None]
    share_higher: float | None
    quantum: float = 0.0
    quanta_apart: tuple[int, int] | None = None
    growth: tuple[float, float] | None = None

    @property
    def identical(self) -> bool:
        """Whether every paired step has the same loss, to the bit."""
        return self.num_paired > 0 and self.parting is None


def compare_losses(a: Run, b: Run) -> LossComparison:
    """Return how the training losses of `a` and `b` run together and apart."""
    series_a, series_b = (run.metrics.numbers.get(TRAIN_LOSS) for run in (a, b))
    paired = pair(series_a, series_b)
    parted = parting(paired)
    first_apart: dict[str, int | None] = {}
    for key in _WATCHED:
        watched = pair(a.metrics.numbers.get(key), b.metrics.numbers.get(key))
        if len(watched):
            at = parting(watched)
            first_apart[key] = at.step if at else None
    higher, lower = int((paired.b > paired.a).sum()), int((paired.b < paired.a).sum())
    return LossComparison(
        num_paired=len(paired),
        window=(int(paired.steps[0]), int(paired.steps[-1])) if len(paired) else None,
        parting=parted,
        cause=cause(parted, a=series_a, b=series_b) if parted and series_a and series_b else None,
        first_apart=first_apart,
        share_higher=higher / (higher + lower) if higher + lower else None,
        quantum=coarser_quantum(TRAIN_LOSS, a, b),
        quanta_apart=_quanta_apart(paired, coarser_quantum(TRAIN_LOSS, a, b)),
        growth=_growth(paired, since=parted.num_equal_steps) if parted else None,
    )


def coarser_quantum(key: str, a: Run, b: Run) -> float:
    """Return the coarser of the units in which the two sides print `key`; 0 for raw floats."""
    return max(run.quanta.get(key, 0.0) for run in (a, b))


def _quanta_apart(paired: Paired, quantum: float) -> tuple[int, int] | None:
    finite = np.isfinite(paired.a) & np.isfinite(paired.b)
    apart = np.abs(paired.b[finite] - paired.a[finite])
    if not quantum or not len(apart):
        return None
    return round(float(apart.min()) / quantum), round(float(apart.max()) / quantum)


def _growth(paired: Paired, *, since: int) -> tuple[float, float] | None:
    num_steps = (len(paired) - since) // 10
    if not num_steps:
        return None
    ends = slice(since, since + num_steps), slice(len(paired) - num_steps, None)
    first, last = (float(np.mean(np.abs(paired.b[end] - paired.a[end]))) for end in ends)
    return (first, last) if np.isfinite([first, last]).all() else None


def identical_told(quantum: float) -> str:
    """Return how far two equal values are known to be equal."""
    return f"identical as printed, to {quantum:g}," if quantum else "identical to the bit"
