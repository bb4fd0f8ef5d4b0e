"""The figures that a whole run boils down to: what noise floors are kept of."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.load import Run
from axl_exp.compare.verdict import Better
from axl_exp.run.metrics_reader import MAX_STEP
from axl_exp.run.series import find

STEADY = "steady"
TRAIN_LOSS = "train/loss"
EVAL_KEY = re.compile(r"eval/(?P<name>.+)/(?P<quantity>loss|perplexity|bits_per_byte)")
PEAK_MEMORY = "peak_memory_bytes"
MIN_TAIL_STEPS = 10
TAIL_SHARE = 0.1


@dataclass(frozen=True)
class SpeedFigure:
    """A quantile of one metric over steady steps.

    Attributes:
        per_step: Whether it compares only where steps hold equally many tokens.
        by_flops: Whether it rests on a FLOP formula.
    """

    name: str
    key: str
    better: Better
    quantile: float
    per_step: bool = False
    by_flops: bool = False

    @property
    def figure(self) -> str:
        """What floors call it."""
        return f"{self.key}@{self.quantile:g}"


SPEED_FIGURES = (
    SpeedFigure("step time, median (s)", "perf/step_seconds", Better.LOWER, 0.5, per_step=True),
    SpeedFigure("step time, p95 (s)", "perf/step_seconds", Better.LOWER, 0.95, per_step=True),
    SpeedFigure("tokens/s", "perf/tokens_per_second", Better.HIGHER, 0.5),
    SpeedFigure(
        "TFLOP/s per device", "perf/tflops_per_device", Better.HIGHER, 0.5, by_flops=True
    ),
    SpeedFigure("MFU", "perf/mfu", Better.HIGHER, 0.5, by_flops=True),
)  # fmt: skip


def run_figures(run: Run) -> dict[str, float]:
    """Return every finite figure of `run`, by name; those that it does not tell are not there."""
    found: dict[str, float] = {}
    for speed in SPEED_FIGURES:
        values = steady_values(run, speed.key)
        if len(values):
            found[speed.figure] = float(np.quantile(values, speed.quantile))
    loss = run.metrics.numbers.get(TRAIN_LOSS)
    if loss is not None and len(loss):
        found[TRAIN_LOSS] = float(loss.values[-num_tail_steps(len(loss)) :].mean())
    for key, series in run.metrics.numbers.items():
        if EVAL_KEY.fullmatch(key) and len(series):
            found[key] = float(series.values[-1])
    if (peak := peak_memory(run)) is not None:
        found[PEAK_MEMORY] = peak
    return {name: value for name, value in found.items() if np.isfinite(value)}


def steady_values(run: Run, key: str, *, window: tuple[int, int] | None = None) -> np.ndarray:
    """Return the positive, finite values of `key` at the steady steps of the window, in order."""
    series, labels = run.metrics.numbers.get(key), run.metrics.labels.get("time/class")
    if series is None or labels is None:
        return np.array([])
    first, last = window or (0, MAX_STEP)
    steps, values = series.within(first, last)
    values = values[find(steps, labels.steps_of(STEADY, first=first, last=last))[0]]
    return values[np.isfinite(values) & (values > 0)]


def num_tail_steps(num_steps: int) -> int:
    """Return how many of the last steps make the tail of a loss."""
    return max(MIN_TAIL_STEPS, round(TAIL_SHARE * num_steps))


def peak_memory(run: Run) -> float | None:
    """Return the peak memory in bytes that the run's summary tells; None where it tells none."""
    value = run.summary.get(PEAK_MEMORY)
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
