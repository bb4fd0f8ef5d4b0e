"""From values to places on a chart: domains, ticks, and few points that draw like many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Columns of a chart that points are chosen for: about the pixels of a wide screen.
COLUMNS = 1000


@dataclass(frozen=True)
class Scale:
    """A range of values along one side of a chart, linear or logarithmic."""

    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where `value` stands between the ends: 0 at `low`, 1 at `high`."""
        low, high = self._moved(self.low), self._moved(self.high)
        return (self._moved(value) - low) / (high - low)

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return `place` of each value."""
        low, high = self._moved(self.low), self._moved(self.high)
        return ((np.log10(values) if self.is_log else values) - low) / (high - low)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values within the range, about `most` of them."""
        if self.is_log:
            exponents = range(
                math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1
            )
            if len(exponents) >= 2:
                every = math.ceil(len(exponents) / most)
                return [10.0**e for e in list(exponents)[::every]]
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span / most))
        step = next(step * m for m in (1, 2, 5, 10) if step * m * most >= span)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]

    def _moved(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def scale_of(values: np.ndarray, *, is_log: bool = False, margin: float = 0.04) -> Scale:
    """Return a scale that shows every value, with some margin; of no values, one from 0 to 1."""
    values = values[values > 0] if is_log else values
    if not len(values):
        return Scale(0.1, 1.0, is_log=True) if is_log else Scale(0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if is_log:
        factor = (high / low) ** margin if high > low else 2.0
        return Scale(low / factor, high * factor, is_log=True)
    space = margin * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low - space, high + space)


def thin(steps: np.ndarray, values: np.ndarray, *, columns: int = COLUMNS) -> np.ndarray:
    """Return indices of the points that draw a line as all of them would, ascending.

    Of every column the first, last, lowest and highest point: on a raster of so many columns the
    line is the same to the pixel (Jugel, Jerzak, Hackenbroich and Markl 2014, M4: a
    visualization-oriented time series data aggregation, VLDB 7(10), 797-808).

    Args:
        steps: Ascending.
        values: One per step, finite.
        columns: Of the raster.
    """
    if len(steps) <= 4 * columns:
        return np.arange(len(steps))
    first, last = float(steps[0]), float(steps[-1])
    column = ((steps - first) * (columns / (last - first))).astype(np.int64).clip(0, columns - 1)
    # Sorted by column, then value: the ends of each group are its lowest and highest.
    by_value = np.lexsort((values, column))
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(starts[1:], len(steps)) - 1
    return np.unique(np.concatenate([starts, ends, by_value[starts], by_value[ends]]))
