"""One metric over steps, and the classes of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np


class Column(Protocol):
    """Numbers that are kept in less memory than an array takes."""

    def __len__(self) -> int: ...

    def unpack(self) -> np.ndarray:
        """Return them as an array."""
        ...


class Series:
    """One metric over steps: int64, ascending, each at most once; and as many float64.

    A column that is kept packed is unpacked whenever `steps` or `values` is read: read it once, not
    once a row.
    """

    def __init__(self, steps: np.ndarray | Column, values: np.ndarray | Column):
        """Keep what is given as it is."""
        self._steps, self._values = steps, values

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> np.ndarray:
        """The steps, int64."""
        return _array(self._steps)

    @property
    def values(self) -> np.ndarray:
        """The value at each step, float64."""
        return _array(self._values)

    def at(self, steps: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the values at `steps`; NaN where there is none."""
        wanted = np.asarray(steps, dtype=np.int64)
        index, has = find(self.steps, wanted)
        found = np.full(len(wanted), np.nan)
        found[has] = self.values[index]
        return found


class Labels:
    """The class of each step, as a text: `time/class`."""

    def __init__(
        self, steps: np.ndarray | Column, codes: np.ndarray | Column, names: Sequence[str]
    ):
        """Keep the steps, for each the index of its name, and the names."""
        self._steps, self._codes, self._names = steps, codes, tuple(names)

    @classmethod
    def of(cls, steps: np.ndarray | Column, texts: Iterable[str]) -> Labels:
        """Return the labels of `steps` from one text each."""
        index: dict[str, int] = {}
        codes = [index.setdefault(text, len(index)) for text in texts]
        return cls(steps, np.array(codes, dtype=np.int64), tuple(index))

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> np.ndarray:
        """The steps, int64."""
        return _array(self._steps)

    @property
    def codes(self) -> np.ndarray:
        """Which of `names` each step has, int64."""
        return _array(self._codes)

    @property
    def names(self) -> tuple[str, ...]:
        """The texts."""
        return self._names

    @property
    def values(self) -> np.ndarray:
        """The text of each step: str objects."""
        return np.array(self._names, dtype=object)[self.codes]

    def steps_of(self, name: str) -> np.ndarray:
        """Return the steps that have this label."""
        return self.steps[self.codes == self._names.index(name)] if name in self._names else _NONE


_NONE = np.array([], dtype=np.int64)


def find(steps: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in `steps` those of `wanted` stand that are there, and a mask of those.

    Both ascend. Without sorting: logs have millions of steps.
    """
    index = np.searchsorted(steps, wanted)
    index[index == len(steps)] = 0
    has = steps[index] == wanted if len(steps) else np.zeros(len(wanted), dtype=bool)
    return index[has], has


def _array(values: np.ndarray | Column) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.unpack()
