"""The verdict on peak memory, which a run tells once, in its summary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from axl_exp.compare.figures import PEAK_MEMORY, peak_memory
from axl_exp.compare.floors import Floors
from axl_exp.compare.judge import judge
from axl_exp.compare.load import Run
from axl_exp.compare.validity import incomparable_time, platform
from axl_exp.compare.verdict import Better, MetricResult, State

# By how much the peaks of two runs of the same code are taken to differ: assumed, not measured.
# Accelerator memory is laid out by the compiler.
ASSUMED_MEMORY_FLOOR = 0.01
_ON_A_CPU = "on a CPU it is the process's resident memory, which its allocator decides"


def memory_results(
    a: Sequence[Run], b: Sequence[Run], *, floors: Floors, margin: float | None
) -> list[MetricResult]:
    """Return the result for peak memory; none where no run tells it."""
    values = [[peak_memory(run) for run in side] for side in (a, b)]
    runs_a, runs_b = (tuple(v for v in side if v is not None) for side in values)
    if not runs_a and not runs_b:
        return []
    missing = next((name for name, side in zip("AB", values, strict=True) if None in side), None)
    result = MetricResult(
        name="peak memory (bytes)",
        key=PEAK_MEMORY,
        figure=PEAK_MEMORY,
        better=Better.LOWER,
        a=float(np.mean(runs_a)) if runs_a else None,
        b=float(np.mean(runs_b)) if runs_b else None,
        state=State.NOT_COMPARABLE,
        reason=f"{missing} does not tell it" if missing else _incomparable(a, b),
        window="the last launch, whole",
        formula=_formula(a[0], b[0]),
        a_runs=runs_a,
        b_runs=runs_b,
    )
    if result.reason or result.relative is None:
        return [result]
    floor = floors.floor(PEAK_MEMORY, assumed=ASSUMED_MEMORY_FLOOR)
    return [judge(result, floor=floor, margin=margin, needs_floor=True)]


def _incomparable(a: Sequence[Run], b: Sequence[Run]) -> str:
    """Return why the peaks cannot be compared, empty if they can."""
    reasons = (incomparable_time(a[0], run) for run in (*a[1:], *b))
    return next(filter(None, reasons), "") or (_ON_A_CPU if platform(a[0]) == "cpu" else "")


def _formula(a: Run, b: Run) -> str:
    """Return what the values are; a log tells its own."""
    ours = f"{PEAK_MEMORY} of summary.json: of one device; on a CPU, of the process"
    told = dict.fromkeys(str(run.summary.get("peak_memory_told", ours)) for run in (a, b))
    return "; against ".join(told)
