"""One figure of every run of both sides -> a verdict: by repeats, by a stored floor, or assumed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from axl_exp.compare.floors import Floor
from axl_exp.compare.repeats import (
    DETECT,
    LEVEL,
    MIN_RUNS,
    Equivalence,
    equivalence,
    holm,
    run_test,
    runs_to_detect,
    welch,
)
from axl_exp.compare.statistics import Interval
from axl_exp.compare.verdict import MetricResult, State, direction


def judge(
    result: MetricResult,
    *,
    floor: Floor,
    margin: float | None,
    within: Interval | None = None,
    told: str = "",
    needs_floor: bool = False,
    is_shared: bool = False,
) -> MetricResult:
    """Return `result` with its verdict; it holds one figure per run of each side, all finite.

    With MIN_RUNS or more per side the runs' own spread decides. With fewer, a change is real where
    it is beyond the floor and beyond what steps scatter within the runs; there is no p-value then.

    Args:
        result: Comparable: both sides have figures, and A's mean is not zero.
        floor: By how much runs of the same code differ.
        margin: The relative change that was declared to be none; None where none was.
        within: Interval of the change by the noise inside one run of each side.
        told: What the reason begins with.
        needs_floor: The change must be beyond the floor with repeats too, since what they repeat
            is not all that varies: one seed, or all runs of A before all of B.
        is_shared: Other work moves the figure too, by nobody knows how much, so that an assumed
            floor makes nothing better or worse: it takes a measured one, or repeats.
    """
    assert result.relative is not None
    if min(len(result.a_runs), len(result.b_runs)) >= MIN_RUNS:
        judged = _by_repeats(result, floor=floor, told=told, needs_floor=needs_floor)
    else:
        judged = _by_floor(result, floor=floor, within=within, told=told, is_shared=is_shared)
    judged = replace(judged, floor=floor, more_runs=_more_runs(judged, floor))
    if margin is None:
        return judged
    shown = _equivalence(judged, floor=floor, margin=margin)
    judged = replace(judged, equivalence=shown)
    if shown.accepted and judged.state in (State.BETTER, State.WORSE):
        reason = f"{judged.reason}; equivalent all the same: {shown.told}"
        return replace(judged, state=State.WITHIN_NOISE, reason=reason)
    return judged


def correct(families: Sequence[Sequence[MetricResult]]) -> list[list[MetricResult]]:
    """Return all results with Holm's correction over every test that was made for one question.

    A result that is significant alone and not among so many is within noise.
    """
    tested = [r for results in families for r in results if r.test is not None and not r.follows]
    adjusted = iter(holm([r.test.p for r in tested if r.test is not None]))
    corrected = []
    for results in families:
        done = [
            _corrected(r, next(adjusted), len(tested))
            if r.test is not None and not r.follows
            else r
            for r in results
        ]
        states = {r.figure: r.state for r in done if not r.follows}
        corrected.append(
            [
                replace(r, state=states.get(r.follows, r.state))
                if r.follows and r.state is not State.NOT_COMPARABLE
                else r
                for r in done
            ]
        )
    return corrected


def _corrected(result: MetricResult, p: float, num_tests: int) -> MetricResult:
    result = replace(result, p_adjusted=p)
    if result.state not in (State.BETTER, State.WORSE) or p <= LEVEL:
        return result
    reason = f"{result.reason}; not beyond chance among {num_tests} tests: p = {p:.2g} after Holm"
    return replace(result, state=State.WITHIN_NOISE, reason=reason)


def _by_repeats(
    result: MetricResult, *, floor: Floor, told: str, needs_floor: bool
) -> MetricResult:
    test = run_test(result.a_runs, result.b_runs)
    num_a, num_b = len(result.a_runs), len(result.b_runs)
    low, high = 100 * test.interval.low, 100 * test.interval.high
    reason = f"{told}{low:+.2f} to {high:+.2f} % by {num_a} and {num_b} runs (Welch's t, "
    reason += f"p = {test.p:.2g}; permutation p = {test.p_permutation:.2g}"
    if test.lowest_p > LEVEL:
        reason += f", which cannot go below {test.lowest_p:.2g} with so few"
    reason += ")"
    result = replace(result, test=test, interval=test.interval, reason=reason)
    relative = result.relative
    assert relative is not None
    if test.p > LEVEL:
        return replace(result, state=State.WITHIN_NOISE)
    if needs_floor and abs(relative) <= floor.between(num_a, num_b):
        reason = f"{reason}, but within {floor.told(num_a, num_b)}"
        return replace(result, state=State.WITHIN_NOISE, reason=reason)
    return replace(result, state=direction(result))


def _by_floor(
    result: MetricResult, *, floor: Floor, within: Interval | None, told: str, is_shared: bool
) -> MetricResult:
    relative = result.relative
    assert relative is not None
    num_a, num_b = len(result.a_runs), len(result.b_runs)
    reason = told
    if within is not None:
        low, high = 100 * within.low, 100 * within.high
        reason += f"{low:+.2f} to {high:+.2f} % by the noise inside each run"
        result = replace(result, interval=within)
        if 0.0 in within:
            return replace(result, state=State.WITHIN_NOISE, reason=reason)
        reason += ", "
    floor_told = floor.told(num_a, num_b)
    if abs(relative) <= floor.between(num_a, num_b):
        reason += f"{'but ' if within else ''}within {floor_told}"
        return replace(result, state=State.WITHIN_NOISE, reason=reason)
    reason += f"beyond {floor_told}"
    if is_shared and floor.spread is None:
        few = min(num_a, num_b)
        reason += f", but a CPU shares its time and {few} run{'s' * (few > 1)} per side cannot tell"
        reason += f" drift from change: {MIN_RUNS - few} more per side, in turns, would"
        return replace(result, state=State.NOT_COMPARABLE, reason=reason)
    return replace(result, state=direction(result), reason=reason)


def _more_runs(result: MetricResult, floor: Floor) -> int | None:
    """Return how many more runs per side would detect 1 %; None where no spread is known."""
    spread = result.test.spread if result.test else floor.spread
    if spread is None:
        return None
    have = min(len(result.a_runs), len(result.b_runs))
    return max(0, runs_to_detect(DETECT, spread=spread) - have)


def _equivalence(result: MetricResult, *, floor: Floor, margin: float) -> Equivalence:
    assert result.relative is not None and result.a is not None
    num_a, num_b = len(result.a_runs), len(result.b_runs)
    if min(num_a, num_b) >= MIN_RUNS:
        _, error, degrees = welch(np.array(result.a_runs), np.array(result.b_runs))
        scale = abs(result.a)
        return equivalence(result.relative, float(error) / scale, float(degrees), margin=margin)
    if floor.spread is not None:
        error = floor.spread * math.sqrt(1 / num_a + 1 / num_b)
        return equivalence(result.relative, error, floor.degrees, margin=margin)
    told = f"not shown: it needs {MIN_RUNS} runs per side, or a stored noise floor"
    return Equivalence(margin, None, False, told)
