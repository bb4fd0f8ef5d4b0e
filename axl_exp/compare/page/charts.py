"""Which charts a comparison has, and of which numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.align import pair
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.load import Run, named_runs
from axl_exp.report.html.chart import Band, Chart, Line
from axl_exp.report.html.strip import Strip, make_strip

_LOSS, _SECONDS = "train/loss", "perf/step_seconds"
_MEMORY = re.compile(r".*(memory|_bytes).*")
_STEADY = "steady"
# class of a step -> class of page.css; what is not here is `other`.
_STEP_STYLES = {
    "steady": "steady",
    "compile": "compile",
    "restart": "compile",
    "checkpoint": "checkpoint",
    "catch-up": "catch-up",
    "stall": "stall",
    "eval": "eval",
}
_STALL_RATIO = 5.0


@dataclass(frozen=True)
class Charts:
    """The charts of one comparison, in the order of the page.

    Attributes:
        strips: Step classes, one per side; empty where no step has a time.
        strip_legend: (style, name) of every class that occurs.
        memory: Metrics of memory.
        others: Every further metric that a side has over more than one step.
    """

    loss: Chart | None
    difference: Chart | None
    seconds: Chart | None
    strips: list[Strip]
    strip_legend: list[tuple[str, str]]
    memory: list[Chart]
    others: list[Chart]


def charts_of(c: Comparison, *, prefix: str) -> Charts:
    """Return the charts of `c`; `prefix` keeps their names apart from those of others."""
    keys = sorted(c.a.metrics.numbers.keys() | c.b.metrics.numbers.keys())
    plain = [key for key in keys if key not in (_LOSS, _SECONDS)]
    charts = {key: chart for key in plain if (chart := _overlay(c, key, key, prefix=prefix))}
    strips, legend = _strips(c)
    return Charts(
        loss=_overlay(c, _LOSS, "Training loss", prefix=prefix),
        difference=_difference(c, prefix=prefix),
        seconds=_seconds(c, prefix=prefix),
        strips=strips,
        strip_legend=legend,
        memory=[chart for key, chart in charts.items() if _MEMORY.fullmatch(key)],
        others=[chart for key, chart in charts.items() if not _MEMORY.fullmatch(key)],
    )


def _lines(c: Comparison, key: str) -> list[Line]:
    """Return one line per run that has `key`; repeats share their side's colour."""
    lines = []
    for side, runs in (("A", c.runs_a), ("B", c.runs_b)):
        for name, run in named_runs(side, runs):
            series = run.metrics.numbers.get(key)
            if series is not None and len(series):
                lines.append(Line(name, side.lower(), series.steps, series.values))
    return lines


def _overlay(c: Comparison, key: str, title: str, *, prefix: str) -> Chart | None:
    lines = [line for line in _lines(c, key) if len(line.steps) > 1]
    if not lines:
        return None
    return Chart(f"{prefix}{_id(key)}", title, lines)


def _difference(c: Comparison, *, prefix: str) -> Chart | None:
    paired = pair(c.a.metrics.numbers.get(_LOSS), c.b.metrics.numbers.get(_LOSS))
    if len(paired) < 2:
        return None
    line = Line("B − A", "difference", paired.steps, paired.b - paired.a)
    result = next((m for m in c.metrics if m.key == _LOSS), None)
    band, note = None, ""
    quantum = c.losses.quantum
    if result is not None and result.floor is not None and result.a is not None:
        counts = max(len(result.a_runs), 1), max(len(result.b_runs), 1)
        half = result.floor.between(*counts) * abs(result.a)
        band = Band(-half, half, f"noise floor of the tail, ±{half:.3g}")
    elif quantum:
        band = Band(-quantum, quantum, f"one print quantum, ±{quantum:g}")
    if c.losses.parting is not None:
        note = f"The losses first part at step {c.losses.parting.step:,}."
    name = f"{prefix}loss-difference"
    return Chart(name, "Paired difference of the losses", [line], note, band=band, zero=True)


def _seconds(c: Comparison, *, prefix: str) -> Chart | None:
    lines = _lines(c, _SECONDS)
    if not any(len(line.steps) > 1 for line in lines):
        return None
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values) & (values > 0)]
    is_log = len(values) > 0 and float(values.max()) > _STALL_RATIO * float(np.median(values))
    note = "Logarithmic, so that stalls and steady steps are both seen." if is_log else ""
    return Chart(f"{prefix}step-seconds", "Seconds per step", lines, note, is_log=is_log)


def _strips(c: Comparison) -> tuple[list[Strip], list[tuple[str, str]]]:
    sides = [("A", c.a), ("B", c.b)]
    timed = [(name, run) for name, run in sides if len(_timed(run)[0])]
    if not timed:
        return [], []
    ends = [_timed(run)[0][[0, -1]] for _, run in timed]
    window = int(min(e[0] for e in ends)), int(max(e[1] for e in ends))
    strips, seen = [], {}
    for name, run in timed:
        steps, seconds, classes = _timed(run)
        seen |= dict.fromkeys(classes)
        strips.append(
            make_strip(
                name, steps, classes, seconds, window=window, styles=_STEP_STYLES, usual=_STEADY
            )
        )
    legend: dict[str, list[str]] = {}
    for name in sorted(seen, key=lambda n: n != _STEADY):
        legend.setdefault(_STEP_STYLES.get(name, "other"), []).append(name)
    return strips, [(style, ", ".join(names)) for style, names in legend.items()]


def _timed(run: Run) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """Return the steps that have a time, their seconds and their classes."""
    series, labels = run.metrics.numbers.get(_SECONDS), run.metrics.labels.get("time/class")
    if series is None:
        return np.array([]), np.array([]), []
    known = dict(zip(labels.steps.tolist(), labels.values, strict=True)) if labels else {}
    classes = [str(known.get(step, "unlabelled")) for step in series.steps.tolist()]
    return series.steps, series.values, classes


def _id(key: str) -> str:
    """Return `key` as an HTML id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", key)
