"""Verdicts on step time and throughput, from steady steps alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from axl_exp.compare.figures import SPEED_FIGURES, STEADY, SpeedFigure, steady_values
from axl_exp.compare.floors import Floor, Floors
from axl_exp.compare.flop_basis import incomparable_flops, on_one_basis
from axl_exp.compare.judge import judge
from axl_exp.compare.load import Run
from axl_exp.compare.statistics import quantile_change
from axl_exp.compare.validity import (
    incomparable_steps,
    incomparable_time,
    platform,
    ran_one_after_other,
)
from axl_exp.compare.verdict import MetricResult, State

MIN_STEADY_STEPS = 10  # Fewer say nothing of their own noise.
MIN_TOLD_STEPS = 3  # So few can still show that there is no change beyond the floor.
_STEP_TIME = SPEED_FIGURES[0]


def assumed_floor(platform_name: str, *, quantile: float) -> float:
    """Return by how much two runs of the same code are taken to differ: 0.02 is 2 %.

    Not measured: it stands in as long as no repeated runs of one commit are stored. CPUs are shared
    with whatever else the machine does; accelerators are not.
    """
    median, p95 = (0.02, 0.05) if platform_name in ("tpu", "gpu") else (0.10, 0.30)
    return median if quantile <= 0.5 else p95


def speed_results(
    a: Sequence[Run], b: Sequence[Run], *, floors: Floors, margin: float | None
) -> list[MetricResult]:
    """Return one result for every metric of speed that a side has; each side is its repeats."""
    return [
        _result(metric, a, b, floors=floors, margin=margin)
        for metric in SPEED_FIGURES
        if any(metric.key in run.metrics.numbers for run in (a[0], b[0]))
    ]


def _result(
    metric: SpeedFigure,
    a: Sequence[Run],
    b: Sequence[Run],
    *,
    floors: Floors,
    margin: float | None,
) -> MetricResult:
    window = _common_window([*a, *b])
    steady = [[steady_values(run, metric.key, window=window) for run in side] for side in (a, b)]
    basis = ""
    if metric.by_flops and (found := on_one_basis(metric, a[0], b[0])) is not None:
        factors = (found.a, found.b)
        steady = [[x * v for v in side] for x, side in zip(factors, steady, strict=True)]
        basis = found.told
    runs_a, runs_b = (
        tuple(float(np.quantile(values, metric.quantile)) for values in side if len(values))
        for side in steady
    )
    which = "median" if metric.quantile == 0.5 else f"{100 * metric.quantile:.0f}th percentile"
    counts = [" + ".join(str(len(values)) for values in side) for side in steady]
    result = MetricResult(
        name=metric.name,
        key=metric.key,
        figure=metric.figure,
        better=metric.better,
        a=float(np.mean(runs_a)) if runs_a else None,
        b=float(np.mean(runs_b)) if runs_b else None,
        state=State.NOT_COMPARABLE,
        reason=_why_not(metric, a, b, steady),
        window=f"steps {window[0]}-{window[1]}: {counts[0]} steady in A, {counts[1]} in B",
        formula=f"{which} of {metric.key} over the steps whose time/class is {STEADY}{basis}",
        a_runs=runs_a,
        b_runs=runs_b,
    )
    if result.reason or result.relative is None:
        return result
    name = platform(a[0])
    floor = floors.floor(metric.figure, assumed=assumed_floor(name, quantile=metric.quantile))
    num_steps = min(len(values) for side in steady for values in side)
    if num_steps < MIN_STEADY_STEPS:
        return _of_few_steps(metric, result, num_steps, floor=floor)
    within = None
    if len(a) == len(b) == 1:
        within = quantile_change(steady[0][0], steady[1][0], quantile=metric.quantile)
    # A CPU drifts with all else that the machine does, so repeats in turns are wanted there.
    is_drifting = name not in ("tpu", "gpu", "unknown") and ran_one_after_other(a, b)
    judged = judge(
        result,
        floor=floor,
        margin=margin,
        within=within,
        needs_floor=is_drifting,
        is_shared=name == "cpu",
    )
    if judged.key != _STEP_TIME.key and _says_the_step_time(a, b):
        told = f"as {_STEP_TIME.name}; {judged.reason}"
        return replace(judged, follows=_STEP_TIME.figure, reason=told)
    return judged


def _says_the_step_time(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """Return whether rates are step times in other words, since steps hold the same work."""
    has_times = all(_STEP_TIME.key in run.metrics.numbers for run in (*a, *b))
    return has_times and not incomparable_steps(a[0], b[0])


def _of_few_steps(
    metric: SpeedFigure, result: MetricResult, num_steps: int, *, floor: Floor
) -> MetricResult:
    """Return the verdict where too few steps tell of their own noise: never better or worse."""
    assert result.relative is not None
    few = f"too few steady steps to tell their noise: {num_steps}, {MIN_STEADY_STEPS} needed"
    counts = len(result.a_runs), len(result.b_runs)
    if metric.quantile == 0.5 and abs(result.relative) <= floor.between(*counts):
        told = f"apart by {100 * result.relative:+.2f} %, within {floor.told(*counts)}"
        return replace(result, state=State.WITHIN_NOISE, reason=f"{told}; {few}", floor=floor)
    return replace(result, reason=few, floor=floor)


def _why_not(
    metric: SpeedFigure,
    a: Sequence[Run],
    b: Sequence[Run],
    steady: Sequence[Sequence[np.ndarray]],
) -> str:
    for name, runs in (("A", a), ("B", b)):
        if any(metric.key not in run.metrics.numbers for run in runs):
            return f"{name} has no {metric.key}"
    for run in (*a[1:], *b):
        if reason := incomparable_time(a[0], run):
            return reason
        if metric.per_step and (reason := incomparable_steps(a[0], run)):
            return reason
    if metric.by_flops and (reason := incomparable_flops(metric, a[0], b[0])):
        return reason
    fewest = [min(len(values) for values in side) for side in steady]
    if min(fewest) < MIN_TOLD_STEPS:
        return (
            f"too few steady steps: {fewest[0]} in A and {fewest[1]} in B, {MIN_TOLD_STEPS} needed"
        )
    return ""


def _common_window(runs: Sequence[Run]) -> tuple[int, int]:
    """Return the first and last step between which all runs have steps; (0, 0) for none."""
    series = [run.metrics.numbers.get(_STEP_TIME.key) for run in runs]
    ranges = [(int(s.steps[0]), int(s.steps[-1])) for s in series if s is not None and len(s)]
    if len(ranges) < len(runs):
        return (0, 0)
    return max(first for first, _ in ranges), min(last for _, last in ranges)
