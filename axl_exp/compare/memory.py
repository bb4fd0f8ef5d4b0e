"""The verdict on peak memory, which a run tells once, in its summary."""

from __future__ import annotations

from dataclasses import replace

from axl_exp.compare.load import Run
from axl_exp.compare.validity import incomparable_time, platform
from axl_exp.compare.verdict import Better, MetricResult, State, direction

_KEY = "peak_memory_bytes"


# By how much the peaks of two runs of the same code are taken to differ: assumed, not measured.
# Accelerator memory is laid out by the compiler.
ASSUMED_MEMORY_FLOOR = 0.01
_ON_A_CPU = "on a CPU it is the process's resident memory, which its allocator decides"


def memory_results(a: Run, b: Run) -> list[MetricResult]:
    """Return the result for peak memory; none where neither run tells it."""
    values = [_peak(run) for run in (a, b)]
    if values == [None, None]:
        return []
    missing = next((name for name, v in zip("AB", values, strict=True) if v is None), None)
    result = MetricResult(
        name="peak memory (bytes)",
        key=_KEY,
        better=Better.LOWER,
        a=values[0],
        b=values[1],
        state=State.NOT_COMPARABLE,
        reason=f"{missing} does not tell it" if missing else _incomparable(a, b),
        window="the last launch, whole",
        formula=_formula(a, b),
    )
    if result.reason or result.relative is None:
        return [result]
    told = f"the assumed run-to-run floor of {100 * ASSUMED_MEMORY_FLOOR:.0f} %"
    if abs(result.relative) <= ASSUMED_MEMORY_FLOOR:
        return [replace(result, state=State.WITHIN_NOISE, reason=f"within {told}")]
    state = direction(result)
    return [replace(result, state=state, reason=f"beyond {told}")]


def _incomparable(a: Run, b: Run) -> str:
    """Return why the peaks cannot be compared, empty if they can."""
    return incomparable_time(a, b) or (_ON_A_CPU if platform(a) == "cpu" else "")


def _formula(a: Run, b: Run) -> str:
    """Return what the values are; a log tells its own."""
    ours = f"{_KEY} of summary.json: of one device; on a CPU, of the process"
    told = dict.fromkeys(str(run.summary.get("peak_memory_told", ours)) for run in (a, b))
    return "; against ".join(told)


def _peak(run: Run) -> float | None:
    value = run.summary.get(_KEY)
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
