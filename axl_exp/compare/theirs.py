"""What MaxView shows of MaxText logs, made again from the logs, and what its average hides.

Final figures are those of the last step alone; the average is the mean of the printed seconds
without step 0, stalls included; memory is the mean of one host's percentages, once, before the
first step. They are labelled as theirs and decide no verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.load import Run
from axl_exp.compare.logs.log import Wait

_SECONDS = "printed/seconds"
_STALL_RATIO = 3.0  # Against the median of the printed seconds.
_LONG_SECONDS = 0.001
_MAX_TOLD = 3


@dataclass(frozen=True)
class TheirFigure:
    """One figure of the page: as it follows from each log, as the page shows it, what it is.

    Attributes:
        a, b: Made from the logs; None where a log does not tell.
        shown_a, shown_b, shown_diff: On the page, as text; empty where there is no page.
    """

    name: str
    what: str
    a: float | str | None
    b: float | str | None
    shown_a: str = ""
    shown_b: str = ""
    shown_diff: str = ""

    @property
    def diff(self) -> float | None:
        """B - A, of numbers."""
        a, b = self.a, self.b
        return b - a if isinstance(a, float) and isinstance(b, float) else None


@dataclass(frozen=True)
class LongStep:
    """A step whose printed seconds are no step's length, and what they are made of.

    Attributes:
        is_printed: Whether the step's line shows these seconds; those of the last save are in none.
    """

    side: str
    step: int
    seconds: float
    parts: list[tuple[str, float]]
    is_printed: bool = True


@dataclass(frozen=True)
class Theirs:
    """Attributes:
    figures: The page's table.
    average_told: What the difference of the averages comes from; empty where there is none.
    long_steps: Steps that hold saves, decomposed.
    """

    figures: list[TheirFigure]
    average_told: str
    long_steps: list[LongStep]


def theirs(a: Run, b: Run) -> Theirs | None:
    """Return what MaxView shows of the two; None where neither is a MaxText log."""
    logs = [run.log for run in (a, b)]
    if not all(log is not None and log.format == "MaxText" for log in logs):
        return None
    page = b.page if b.page is not None and a.run_dir == b.run_dir else None
    shown = {figure.name: figure for figure in page.figures} if page else {}
    figures = []
    for name, what, read in _FIGURES:
        figure = shown.get(name)
        texts = (figure.a, figure.b, figure.diff) if figure else ("", "", "")
        figures.append(TheirFigure(name, what, read(a), read(b), *texts))
    steps = [*_long_steps("A", a), *_long_steps("B", b)]
    return Theirs(figures, _average_told(a, b), steps)


def _last(key: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        series = run.metrics.numbers.get(key)
        return float(series.values[-1]) if series is not None and len(series) else None

    return read


def _average_seconds(run: Run) -> float | None:
    seconds = _after_first(run)
    return float(seconds.mean()) if len(seconds) else None


def _after_first(run: Run) -> np.ndarray:
    """Return the printed seconds without step 0."""
    series = run.metrics.numbers.get(_SECONDS)
    pieces = [] if series is None else series.pieces()
    later = [values[(steps > 0) & np.isfinite(values)] for steps, values in pieces]
    return np.concatenate([np.array([]), *later])


def _memory_percent(run: Run) -> float | None:
    assert run.log is not None
    percents = [m.percent for m in run.log.memory if m.percent is not None]
    return float(np.mean(percents)) if percents else None


def _fact(key: str) -> Callable[[Run], str | None]:
    return lambda run: run.env.get(key)


def _jax(run: Run) -> str | None:
    return run.env.get("versions", {}).get("jax")


_FIGURES: tuple[tuple[str, str, Callable[[Run], float | str | None]], ...] = (
    ("Parameters", "as the log prints it", _fact("num_parameters")),
    ("Final loss", "of the last step", _last("train/loss")),
    ("TFLOP/s", "of the last step, per device", _last("printed/tflops_per_device")),
    ("Tok/s", "of the last step, per device", _last("printed/tokens_per_second_per_device")),
    ("Avg s/step", "mean of the printed seconds without step 0, stalls in it", _average_seconds),
    ("Memory %", "mean of one host's devices, not the peak", _memory_percent),
    ("JAX", "", _jax),
)


def _average_told(a: Run, b: Run) -> str:
    """Return which steps make the difference of the averages."""
    sides = [run.metrics.numbers.get(_SECONDS) for run in (a, b)]
    series = [s for s in sides if s is not None]
    seconds = [_after_first(run) for run in (a, b)]
    counts = [len(values) for values in seconds]
    if not all(counts):
        return ""
    total = float(seconds[1].mean() - seconds[0].mean())
    usual = float(np.median(np.concatenate(seconds), overwrite_input=True))
    del seconds
    above = [
        steps[(steps > 0) & np.isfinite(values) & (values > _STALL_RATIO * usual)]
        for s in series
        for steps, values in s.pieces()
    ]
    long = np.unique(np.concatenate(above))
    if not len(long) or not total:
        return ""
    at = [s.at(long) for s in series]
    parts = [np.nan_to_num(values) / num for values, num in zip(at, counts, strict=True)]
    change = parts[1] - parts[0]
    largest = np.argsort(-np.abs(change), kind="stable")[:_MAX_TOLD]
    told = []
    for k in largest:
        values = " against ".join("none" if np.isnan(v[k]) else f"{v[k]:.3f}" for v in at)
        told.append(f"{change[k]:+.3f} from step {long[k]} ({values} s)")
    rest = total - float(change[largest].sum())
    return (
        f"of the average's {total:+.3f} s/step, {', '.join(told)} and {rest:+.3f} from all others: "
        "steps of more than three times the median are stalls or compilation, not steady state"
    )


def _long_steps(side: str, run: Run) -> list[LongStep]:
    """Return the steps that hold a save: the save of step s is in the seconds of step s + 1."""
    log, seconds = run.log, run.metrics.numbers.get(_SECONDS)
    if log is None or seconds is None:
        return []
    names = {
        "step": "until the device finished its steps",
        "previous save": "waiting for the save before",
        "blocking save": "blocking copy of the save",
    }
    waits_of: dict[int, list[Wait]] = defaultdict(list)
    for wait in log.waits:
        if wait.save_step is not None:
            waits_of[wait.save_step].append(wait)
    printed = seconds.at([step + 1 for step in waits_of])
    found = []
    for (save_step, waits), total in zip(waits_of.items(), printed.tolist(), strict=True):
        waits = [w for w in waits if w.what in names]
        parts = [(names[w.what], w.seconds) for w in waits if w.seconds >= _LONG_SECONDS]
        if np.isnan(total):
            seconds_told = sum(seconds for _, seconds in parts)
            found.append(LongStep(side, save_step, seconds_told, parts, is_printed=False))
        else:
            rest = total - sum(s for _, s in parts)
            found.append(LongStep(side, save_step + 1, total, [*parts, ("the rest", rest)]))
    return found
