"""One metric over steps, and the classes of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from axl_exp.run.packed import PIECE


class Column(Protocol):
    """Numbers that are kept in less memory than an array takes."""

    def __len__(self) -> int: ...

    def unpack(self) -> np.ndarray:
        """Return them as an array."""
        ...

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield them in arrays of PIECE rows and a rest."""
        ...


class _OverSteps:
    """What has a step for each of its rows."""

    _steps: np.ndarray | Column

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> np.ndarray:
        """The steps, int64."""
        return _array(self._steps)


class Series(_OverSteps):
    """One metric over steps: int64, ascending, each at most once; and as many float64.

    A column that is kept packed is unpacked whenever `steps` or `values` is read: read it once, not
    once a row, or in pieces.
    """

    def __init__(self, steps: np.ndarray | Column, values: np.ndarray | Column):
        """Keep what is given as it is."""
        self._steps, self._values = steps, values

    @property
    def values(self) -> np.ndarray:
        """The value at each step, float64."""
        return _array(self._values)

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield steps and values in pieces: less memory than both have whole."""
        return zip(_pieces(self._steps), _pieces(self._values), strict=True)

    def within(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps from `first` to `last`, both included, and their values."""
        return _within(self.pieces(), first, last)

    def has_steps_of(self, other: Series) -> bool:
        """Return whether the two are known to be of the same steps, without reading them."""
        return self._steps is other._steps

    def at(self, steps: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the values at `steps`; NaN where there is none."""
        wanted = np.asarray(steps, dtype=np.int64)
        index, has = find(self.steps, wanted)
        found = np.full(len(wanted), np.nan)
        found[has] = self.values[index]
        return found


class Labels(_OverSteps):
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

    def steps_of(self, name: str, *, first: int = 0, last: int = 2**63 - 1) -> np.ndarray:
        """Return the steps that have this label, from `first` to `last`, both included."""
        if name not in self._names:
            return np.array([], dtype=np.int64)
        code = self._names.index(name)
        pieces = zip(_pieces(self._steps), _pieces(self._codes), strict=True)
        return _within(((s[c == code], c[c == code]) for s, c in pieces), first, last)[0]


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


def _pieces(values: np.ndarray | Column) -> Iterator[np.ndarray]:
    if not isinstance(values, np.ndarray):
        return values.pieces()
    return (values[start : start + PIECE] for start in range(0, len(values), PIECE))


def _within(
    pieces: Iterable[tuple[np.ndarray, np.ndarray]], first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    steps, values = [np.array([], dtype=np.int64)], [np.array([])]
    for of_steps, of_values in pieces:
        low = np.searchsorted(of_steps, first)
        high = np.searchsorted(of_steps, last, side="right")
        if low < high:
            steps.append(of_steps[low:high])
            values.append(of_values[low:high])
    return np.concatenate(steps), np.concatenate(values)
