"""A line chart: drawn in the file itself, and read out, zoomed and filtered where scripts run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from axl_exp.report.html.scale import Scale, scale_of, thin
from axl_exp.report.text import format_number

# The drawing's own units; the page stretches it.
WIDTH, HEIGHT = 1000, 240
_WIDEST_BAND = 3.0  # Times the largest value beside it.


@dataclass(frozen=True)
class Line:
    """One series: steps ascending, one value each. Values that are not finite are left out."""

    name: str
    style: str  # A class of page.css: `a`, `b`, `difference`, `median`.
    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Band:
    """A range of values in which a difference means nothing."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Tick:
    """A label beside a chart, at a share of its width or height."""

    percent: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart of several lines over the same steps.

    Attributes:
        name: Unique on the page: an HTML id.
        title: Its heading.
        note: What a reader must know of the drawing.
        is_log: Whether values stand on a logarithmic scale.
        zero: Whether a line stands at 0.
    """

    name: str
    title: str
    lines: Sequence[Line]
    note: str = ""
    is_log: bool = False
    band: Band | None = None
    zero: bool = False
    _drawn: list[_DrawnLine] = field(init=False)
    x: Scale = field(init=False)
    y: Scale = field(init=False)

    def __post_init__(self):
        drawn = [_draw(line, is_log=self.is_log) for line in self.lines]
        steps = np.concatenate([d.steps for d in drawn]) if drawn else np.array([])
        seen = [d.values for d in drawn]
        if self.zero:
            seen.append(np.array([0.0]))
        # A band much wider than all that it is beside would flatten the lines: it is cut instead.
        if self.band is not None and self._is_near(self.band, np.concatenate(seen)):
            seen.append(np.array([self.band.low, self.band.high]))
        low, high = (float(steps.min()), float(steps.max())) if len(steps) else (0.0, 1.0)
        object.__setattr__(self, "_drawn", drawn)
        object.__setattr__(self, "x", Scale(low, high if high > low else low + 1))
        object.__setattr__(self, "y", scale_of(np.concatenate(seen), is_log=self.is_log))

    @staticmethod
    def _is_near(band: Band, values: np.ndarray) -> bool:
        size = float(np.abs(values).max()) if len(values) else 0.0
        return size == 0 or max(abs(band.low), abs(band.high)) <= _WIDEST_BAND * size

    @property
    def told(self) -> str:
        """The chart in words, for those who do not see it."""
        parts = [
            f"{d.line.name}: {d.num_values:,} values from {format_number(float(d.values.min()))} "
            f"to {format_number(float(d.values.max()))}"
            for d in self._drawn
            if len(d.values)
        ]
        return f"{self.title}, steps {self.x.low:g} to {self.x.high:g}. {'; '.join(parts)}."

    @property
    def notes(self) -> list[str]:
        """`note`, and what the drawing leaves out."""
        notes = [self.note] if self.note else []
        if self.band is not None and self.band.high > self.y.high and self.band.low < self.y.low:
            notes.append(f"The {self.band.name}, is wider than the chart.")
        for d in self._drawn:
            if d.num_hidden:
                notes.append(f"{d.line.name}: {d.num_hidden:,} values cannot be drawn: {d.why}.")
        thinned = [d for d in self._drawn if len(d.steps) < d.num_values]
        if thinned:
            most = max(d.num_values for d in thinned)
            notes.append(
                f"Drawn from the first, last, lowest and highest of every column of {most:,} steps."
            )
        return notes

    @property
    def x_ticks(self) -> list[Tick]:
        """Labels below the chart."""
        ticks = [t for t in self.x.ticks(8) if t == int(t)]
        return [Tick(100 * self.x.place(t), f"{t:,.0f}") for t in ticks]

    @property
    def y_ticks(self) -> list[Tick]:
        """Labels left of the chart."""
        return [Tick(100 - 100 * self.y.place(t), _short(t)) for t in self.y.ticks()]

    @property
    def zero_height(self) -> float | None:
        """Where 0 stands in the drawing; None without such a line."""
        return HEIGHT * (1 - self.y.place(0.0)) if self.zero else None

    @property
    def band_box(self) -> tuple[float, float] | None:
        """Upper end and height of the band in the drawing; None without one."""
        if self.band is None:
            return None
        ends = (self.band.high, self.band.low)
        top, bottom = (HEIGHT * min(1.0, max(0.0, 1 - self.y.place(v))) for v in ends)
        return round(top, 2), round(max(bottom - top, 0.5), 2)

    @property
    def paths(self) -> list[tuple[str, Markup]]:
        """Style and SVG path of every line."""
        return [(d.line.style, _path(d, self.x, self.y)) for d in self._drawn]

    @property
    def data(self) -> dict[str, Any]:
        """What the script needs: the points that are drawn."""
        return {
            "log": self.is_log,
            "x": [self.x.low, self.x.high],
            "y": [self.y.low, self.y.high],
            "fixed": [self.band.low, self.band.high] if self.band else [],
            "zero": self.zero,
            "lines": [
                {
                    "name": d.line.name,
                    "style": d.line.style,
                    "steps": d.steps.tolist(),
                    "values": [float(f"{v:.7g}") for v in d.values],
                }
                for d in self._drawn
            ],
        }


@dataclass(frozen=True)
class _DrawnLine:
    line: Line
    steps: np.ndarray
    values: np.ndarray
    num_values: int
    num_hidden: int
    why: str


def _draw(line: Line, *, is_log: bool) -> _DrawnLine:
    values = np.asarray(line.values, dtype=float)
    shown = np.isfinite(values) & ((values > 0) | (not is_log))
    steps, values = np.asarray(line.steps)[shown], values[shown]
    chosen = thin(steps, values)
    why = "not finite, or not above 0" if is_log else "not finite"
    hidden = int((~shown).sum())
    return _DrawnLine(line, steps[chosen], values[chosen], len(steps), hidden, why)


def _path(drawn: _DrawnLine, x: Scale, y: Scale) -> Markup:
    across = WIDTH * x.places(drawn.steps.astype(float))
    down = HEIGHT * (1 - y.places(drawn.values))
    points = [f"{a:.1f} {d:.1f}" for a, d in zip(across, down, strict=True)]
    if len(points) == 1:  # A point is a line of no length; round caps draw it.
        points.append(points[0])
    return Markup("M" + "L".join(points) if points else "")  # noqa: S704


def _short(value: float) -> str:
    """Return a tick's value in few characters."""
    if value == 0:
        return "0"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{value / scale:.4g}{unit}"
    return f"{value:.4g}"
