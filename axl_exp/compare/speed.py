"""Verdicts on step time and throughput, from steady steps alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from axl_exp.compare.load import Run
from axl_exp.compare.statistics import quantile_change
from axl_exp.compare.validity import incomparable_steps, incomparable_time, platform
from axl_exp.compare.verdict import Better, MetricResult, State, direction

STEADY = "steady"
MIN_STEADY_STEPS = 10  # Fewer say nothing of their own noise.
MIN_TOLD_STEPS = 3  # So few can still show that there is no change beyond the assumed floor.


@dataclass(frozen=True)
class _SpeedMetric:
    name: str
    key: str
    better: Better
    quantile: float
    per_step: bool  # Whether it compares only where steps hold equally many tokens.
    by_flops: bool = False  # Whether it rests on a FLOP formula.


_METRICS = (
    _SpeedMetric("step time, median (s)", "perf/step_seconds", Better.LOWER, 0.5, per_step=True),
    _SpeedMetric("step time, p95 (s)", "perf/step_seconds", Better.LOWER, 0.95, per_step=True),
    _SpeedMetric("tokens/s", "perf/tokens_per_second", Better.HIGHER, 0.5, per_step=False),
    _SpeedMetric(
        *("TFLOP/s per device", "perf/tflops_per_device", Better.HIGHER, 0.5),
        per_step=False,
        by_flops=True,
    ),
    _SpeedMetric("MFU", "perf/mfu", Better.HIGHER, 0.5, per_step=False, by_flops=True),
)


def assumed_floor(platform_name: str, *, quantile: float) -> float:
    """Return by how much two runs of the same code are taken to differ: 0.02 is 2 %.

    Not measured: it stands in as long as no repeated runs of one commit are stored. CPUs are shared
    with whatever else the machine does; accelerators are not.
    """
    median, p95 = (0.02, 0.05) if platform_name in ("tpu", "gpu") else (0.10, 0.30)
    return median if quantile <= 0.5 else p95


def speed_results(a: Run, b: Run) -> list[MetricResult]:
    """Return one result for every metric of speed that either run has."""
    return [
        _result(metric, a, b)
        for metric in _METRICS
        if metric.key in a.metrics.numbers or metric.key in b.metrics.numbers
    ]


def _result(metric: _SpeedMetric, a: Run, b: Run) -> MetricResult:
    window = _common_window(a, b)
    steady_a, steady_b = (_steady(run, metric.key, window) for run in (a, b))
    which = "median" if metric.quantile == 0.5 else f"{100 * metric.quantile:.0f}th percentile"
    result = MetricResult(
        name=metric.name,
        key=metric.key,
        better=metric.better,
        a=float(np.quantile(steady_a, metric.quantile)) if len(steady_a) else None,
        b=float(np.quantile(steady_b, metric.quantile)) if len(steady_b) else None,
        state=State.NOT_COMPARABLE,
        reason=_why_not(metric, a, b, steady_a, steady_b),
        window=f"steps {window[0]}-{window[1]}: {len(steady_a)} steady in A, {len(steady_b)} in B",
        formula=f"{which} of {metric.key} over the steps whose time/class is {STEADY}",
    )
    if result.reason or result.relative is None:
        return result
    num_steps = min(len(steady_a), len(steady_b))
    if num_steps < MIN_STEADY_STEPS:
        return _of_few_steps(
            metric, result, num_steps, floor=assumed_floor(platform(a), quantile=0.5)
        )
    interval = quantile_change(steady_a, steady_b, quantile=metric.quantile)
    floor = assumed_floor(platform(a), quantile=metric.quantile)
    told = f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f} % by the noise inside each run"
    result, relative = replace(result, interval=interval), result.relative
    if 0.0 in interval:
        return replace(result, state=State.WITHIN_NOISE, reason=told)
    floor_told = f"the assumed run-to-run floor of {100 * floor:.0f} %"
    if abs(relative) <= floor:
        return replace(result, state=State.WITHIN_NOISE, reason=f"{told}, but within {floor_told}")
    state = direction(result)
    return replace(result, state=state, reason=f"{told}, beyond {floor_told}")


def _of_few_steps(
    metric: _SpeedMetric, result: MetricResult, num_steps: int, *, floor: float
) -> MetricResult:
    """Return the verdict where too few steps tell of their own noise: never better or worse."""
    assert result.relative is not None
    few = f"too few steady steps to tell their noise: {num_steps}, {MIN_STEADY_STEPS} needed"
    if metric.quantile == 0.5 and abs(result.relative) <= floor:
        told = f"apart by {100 * result.relative:+.2f} %, within the assumed run-to-run floor"
        reason = f"{told} of {100 * floor:.0f} %; {few}"
        return replace(result, state=State.WITHIN_NOISE, reason=reason)
    return replace(result, reason=few)


def _why_not(
    metric: _SpeedMetric, a: Run, b: Run, steady_a: np.ndarray, steady_b: np.ndarray
) -> str:
    for name, run in (("A", a), ("B", b)):
        if metric.key not in run.metrics.numbers:
            return f"{name} has no {metric.key}"
    if reason := incomparable_time(a, b):
        return reason
    if metric.per_step and (reason := incomparable_steps(a, b)):
        return reason
    formulas = [run.env.get("flop_formula") for run in (a, b)]
    if metric.by_flops and formulas[0] != formulas[1]:
        return f"FLOP formula differs: {formulas[0]} in A, {formulas[1]} in B"
    if min(len(steady_a), len(steady_b)) < MIN_TOLD_STEPS:
        return (
            f"too few steady steps: {len(steady_a)} in A and {len(steady_b)} in B, "
            f"{MIN_TOLD_STEPS} needed"
        )
    return ""


def _common_window(a: Run, b: Run) -> tuple[int, int]:
    """Return the first and last step between which both runs have steps; (0, 0) for none."""
    series = [run.metrics.numbers.get("perf/step_seconds") for run in (a, b)]
    ranges = [(int(s.steps[0]), int(s.steps[-1])) for s in series if s is not None and len(s)]
    if len(ranges) < 2:
        return (0, 0)
    return max(first for first, _ in ranges), min(last for _, last in ranges)


def _steady(run: Run, key: str, window: tuple[int, int]) -> np.ndarray:
    """Return the positive, finite values of `key` at the steady steps of the window."""
    series, labels = run.metrics.numbers.get(key), run.metrics.labels.get("time/class")
    if series is None or labels is None:
        return np.array([])
    steady_steps = labels.steps[labels.values == STEADY]
    values = series.values[
        np.isin(series.steps, steady_steps)
        & (series.steps >= window[0])
        & (series.steps <= window[1])
    ]
    return values[np.isfinite(values) & (values > 0)]
