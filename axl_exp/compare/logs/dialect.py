"""How a trainer prints its step records, and the one engine that reads them all.

A record is an anchor with a step number and then fields, one after another, for as long as they
match. Line ends play no part: a log that was folded into one line reads the same.
"""

from __future__ import annotations

import heapq
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.log import Cells, Rows
from axl_exp.compare.logs.numbers import quantum, read_number
from axl_exp.run.packed import Packed

MAX_STEP = 2**53
_INT = np.int64
_MAX_NEW = 1 << 14


@dataclass(frozen=True)
class Name:
    """Our name for a metric of theirs, and how many of their units make one of ours."""

    key: str
    per_unit: float = 1


# Units that are printed behind a number -> how many of ours each is. Ours are seconds, TFLOP/s, GiB
# and plain counts; what trainers call GB or MB are GiB and MiB.
_UNITS = {
    **{b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"sec": 1.0, b"seconds": 1.0},
    **{b"GFLOPS": 1e-3, b"TFLOPS": 1.0, b"PFLOPS": 1e3},
    **{b"KiB": 2**-20, b"KB": 2**-20, b"MiB": 2**-10, b"MB": 2**-10},
    **{b"GiB": 1.0, b"GB": 1.0, b"G": 1.0, b"TiB": 2.0**10, b"TB": 2.0**10},
    **{b"k": 1e3, b"K": 1e3, b"M": 1e6, b"B": 1e9},
}


@dataclass(frozen=True)
class Dialect:
    """The step records of one trainer.

    Attributes:
        format: The trainer's name.
        anchor: Matches where a record begins; group `step` is its number, if it tells one. Any
            other group marks the record: `mark/<group>` is 1 where it matched.
        field: Matches one field right behind the anchor or the field before; groups `name`,
            `value`, `unit`. Further groups are metrics of their own: the name is that of the group.
            A match without any group is a field that holds no number.
        names: Their names -> ours; a name that is not here is kept below `prefix`.
        prefix: Of the names that are not in `names`.
        needles: Texts of which one stands in every record: a block without them is not searched.
        clock: The timestamp in front of a record -> seconds since some epoch; None for none.
        before: Finds fields that stand in front of the anchor, at the end of what it searches; its
            groups are metrics.
        step: The step of an anchor that does not tell it in one group.
    """

    format: str
    anchor: re.Pattern[bytes]
    field: re.Pattern[bytes]
    names: Mapping[str, Name]
    prefix: str
    needles: tuple[bytes, ...] = ()
    clock: Callable[[bytes], tuple[float, bytes]] | None = None
    before: re.Pattern[bytes] | None = None
    step: Callable[[re.Match[bytes]], int] | None = None

    def name(self, theirs: bytes) -> Name:
        """Return our name of a field; forks write `_` for a space."""
        text = re.sub(r"\s+", " ", theirs.decode("utf-8", errors="replace")).strip()
        name = self.names.get(text) or self.names.get(text.replace("_", " "))
        return name or Name(f"{self.prefix}/{text}")


# How far before a record its timestamp, and what belongs to it, may stand.
_CLOCK_WINDOW = 200


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


def read_records(
    block: Block, *dialects: Dialect, rows: RowsBuilder, last_step: int = 0
) -> list[tuple[int, int]]:
    """Read every record of `block` into `rows`; return the spans that were understood.

    A record that tells no step is one of `last_step`.
    """
    spans, text = [], block.text
    anchors = [
        zip(dialect.anchor.finditer(text), repeat(dialect))
        for dialect in dialects
        if not dialect.needles or any(needle in text for needle in dialect.needles)
    ]
    for anchor, dialect in heapq.merge(*anchors, key=lambda found: found[0].start()):
        if dialect.step is not None:
            step = dialect.step(anchor)
        else:
            step = int(anchor["step"][:17]) if anchor["step"] else last_step
        if step > MAX_STEP:
            continue
        fields = []
        position = anchor.end()
        while field := dialect.field.match(text, position):
            fields.append(field)
            position = field.end()
        if not fields:
            continue
        if block.is_last and position == len(text):
            fields = _without_cut(fields, dialect, rows)
        time, writer = float("nan"), b""
        window = text[max(0, anchor.start() - _CLOCK_WINDOW) : anchor.start()]
        if dialect.clock is not None:
            time, writer = dialect.clock(window)
        start = anchor.start()
        if dialect.before is not None and (early := dialect.before.search(window)):
            fields.append(early)
            start -= len(window) - early.start()
        line = block.line(anchor.start())
        source = block.label(line) or writer.decode(errors="replace")
        row = rows.add(step, line=line, time=time, source=source)
        for mark, matched in anchor.groupdict().items():
            if dialect.step is None and mark != "step" and matched:
                rows.put(row, f"mark/{mark}", 1.0, quantum=0.0)
        for field in fields:
            for name, value, factor in _numbers(field, dialect):
                number, unit = (
                    x * factor / name.per_unit for x in (read_number(value), quantum(value))
                )
                rows.put(row, name.key, number, quantum=unit)
        spans.append((start, position))
    return spans


def _numbers(field: re.Match[bytes], dialect: Dialect) -> Iterator[tuple[Name, bytes, float]]:
    """Yield name and text of every number of a field, and how many of our units its unit is."""
    groups = field.groupdict()
    theirs, unit = groups.pop("name", None), groups.pop("unit", None)
    for group, value in groups.items():
        if value is None:
            continue
        if group != "value":
            yield dialect.name(group.encode()), value, 1.0
        elif unit is None or unit in _UNITS:
            yield dialect.name(theirs or b""), value, _UNITS[unit] if unit else 1.0
        else:
            yield dialect.name((theirs or b"") + b" (" + unit + b")"), value, 1.0


def _without_cut(
    fields: list[re.Match[bytes]], dialect: Dialect, rows: RowsBuilder
) -> list[re.Match[bytes]]:
    """Return the fields of a record that ends where the text does, without a number that was cut.

    A number is whole where it has as many decimals as the same one of the records before.
    """
    for name, value, factor in _numbers(fields[-1], dialect):
        unit = quantum(value) * factor / name.per_unit
        if not fields[-1][0].endswith(value) or (unit and unit == rows.quanta.get(name.key)):
            return fields
    return fields[:-1]
