"""Whether a case has the losses of another case of its suite, on one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.align import pair
from axl_exp.compare.figures import EVAL_KEY, TRAIN_LOSS
from axl_exp.compare.load import Run
from axl_exp.suite.definition import Case


@dataclass(frozen=True)
class SameLosses:
    """Whether they are the same, and by how much they are apart in words."""

    holds: bool
    told: str


def same_losses(case: Case, runs: Sequence[Run], others: Sequence[Run]) -> SameLosses:
    """Return whether every run of a case has the losses of the other case's first one.

    Those of training at every step, and of every evaluation that both have.

    Args:
        case: Names the other one, and how far apart the losses may be.
        runs: Those of `case` on one commit.
        others: Those of the case that it names, on the same commit.
    """
    whole = others[0]
    worst = 0.0
    for run in runs:
        there, here = (each.metrics.numbers.get(TRAIN_LOSS) for each in (whole, run))
        if there is None or here is None:
            return SameLosses(False, f"cannot be held against {case.losses_of}: no {TRAIN_LOSS}")
        if not np.array_equal(there.steps, here.steps):
            there, here = (f"{len(s)} steps up to {s.steps[-1]}" for s in (there, here))
            return SameLosses(False, f"has {here}, while {case.losses_of} has {there}")
        evaluations = (k for k in run.metrics.numbers if EVAL_KEY.fullmatch(k) and "loss" in k)
        for key in (TRAIN_LOSS, *evaluations):
            paired = pair(whole.metrics.numbers.get(key), run.metrics.numbers.get(key))
            apart = _apart(paired.a, paired.b)
            if (beyond := apart > case.within).any():
                step = int(paired.steps[np.argmax(beyond)])
                allowed = f"{case.within:g} is allowed" if case.within else "none is allowed"
                return SameLosses(
                    False,
                    f"does NOT have the losses of {case.losses_of}: {key} is apart by "
                    f"{apart[np.argmax(beyond)]:.2g} of itself at step {step}, {allowed}",
                )
            worst = max(worst, float(apart.max(initial=0.0)))
    told = f"within {worst:.2g} of them" if worst else "to the bit"
    return SameLosses(True, f"has the losses of {case.losses_of}, {told}")


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return |b - a| / |a| at each step: 0 where both are NaN, infinite where one is not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(b - a) / np.abs(a)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
