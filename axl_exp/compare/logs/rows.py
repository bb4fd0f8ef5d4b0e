"""Collects step records into columns, one by one or many at once."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from axl_exp.compare.logs.log import Cells, Rows
from axl_exp.run.packed import Packed

_INT = np.int64
_MAX_NEW = 1 << 14


class RowsBuilder:
    """Collects records into columns."""

    def __init__(self, *, is_padded: bool = True):
        """Begin without records.

        Args:
            is_padded: Whether `2.5` was rounded to one decimal; where values are printed without
                zeros at their end, it may be 2.5000, and the finest one tells the print quantum.
        """
        self._is_padded = is_padded
        self._new = array("q"), array("q"), array("d"), array("q")  # Not in the columns yet.
        self._columns = tuple(Packed(dtype=dtype) for dtype in (_INT, _INT, np.float64, _INT))
        self._source_index: dict[str, int] = {}
        self._new_cells: dict[str, tuple[array, array]] = {}
        self._cells: dict[str, Cells] = defaultdict(Cells)
        self._last_step = 0
        self.quanta: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._columns[0]) + len(self._new[0])

    @property
    def last_step(self) -> int:
        """The step of the newest record; 0 where there is none."""
        return self._last_step

    def add(self, step: int, *, line: int, time: float, source: str) -> int:
        """Begin a record and return its row."""
        if len(self._new[0]) >= _MAX_NEW:
            self._put_away()
        index = self._source_index.setdefault(source, len(self._source_index))
        steps, lines, times, sources = self._new
        steps.append(step)
        lines.append(line)
        times.append(time)
        sources.append(index)
        self._last_step = step
        return len(self) - 1

    def put(self, row: int, key: str, value: float, *, quantum: float) -> None:
        """Put one value into the last record; of two that it tells the later one counts."""
        rows, values = self._new_cells.setdefault(key, (array("q"), array("d")))
        if rows and rows[-1] == row:
            values[-1] = value
        else:
            rows.append(row)
            values.append(value)
        self.note_quantum(key, quantum)

    def note_quantum(self, key: str, quantum: float) -> None:
        """Note the unit in the last place of a value; 0 tells nothing."""
        known = self.quanta.get(key)
        if quantum > 0 and (known is None or (quantum > known) == self._is_padded):
            self.quanta[key] = quantum

    def add_many(
        self,
        steps: np.ndarray,
        *,
        lines: np.ndarray,
        times: np.ndarray,
        sources: Sequence[str],
        source_of: np.ndarray,
        columns: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Add records at once.

        Args:
            steps, lines, times: One each.
            sources: Who printed them.
            source_of: For each the index into `sources`.
            columns: name -> which of the records tell a metric, ascending, and its values.
        """
        self._put_away()
        self._last_step = int(steps[-1]) if len(steps) else self._last_step
        index = self._source_index
        known = np.array([index.setdefault(source, len(index)) for source in sources], dtype=_INT)
        first = len(self)
        for column, values in zip(
            self._columns, (steps, lines, times, known[source_of]), strict=True
        ):
            column.extend(values.astype(column.dtype, copy=False))
        for key, (rows, values) in columns.items():
            self._cells[key].rows.extend(first + rows)
            self._cells[key].values.extend(values)

    def _put_away(self) -> None:
        """Put what was added one by one into the columns."""
        for column, new in zip(self._columns, self._new, strict=True):
            column.extend(np.array(new, dtype=column.dtype))
            del new[:]
        for key, (rows, values) in self._new_cells.items():
            self._cells[key].rows.extend(np.array(rows, dtype=_INT))
            self._cells[key].values.extend(np.array(values))
        self._new_cells = {}

    def finish(self) -> Rows:
        """Return the columns; nothing may be added after it."""
        self._put_away()
        steps, lines, times, sources = self._columns
        return Rows(
            packed_steps=steps,
            packed_lines=lines,
            packed_times=times,
            packed_sources=sources,
            source_names=list(self._source_index),
            cells=dict(self._cells),
            quanta=self.quanta,
        )
