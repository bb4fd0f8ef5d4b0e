"""How a trainer prints its step records, and the one engine that reads them all.

A record is an anchor with a step number and then fields, one after another, for as long as they
match. Line ends play no part: a log that was folded into one line reads the same.
"""

from __future__ import annotations

import heapq
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.log import Rows
from axl_exp.compare.logs.numbers import quantum, read_number

MAX_STEP = 2**53


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
        self._steps, self._lines, self._sources = array("q"), array("q"), array("i")
        self._times = array("d")
        self._source_index: dict[str, int] = {}
        self._cells: dict[str, tuple[array, array]] = defaultdict(lambda: (array("q"), array("d")))
        self._pieces: dict[str, list[tuple[np.ndarray | range, np.ndarray]]] = defaultdict(list)
        self.quanta: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def last_step(self) -> int:
        """The step of the newest record; 0 where there is none."""
        return self._steps[-1] if self._steps else 0

    def add(self, step: int, *, line: int, time: float, source: str) -> int:
        """Begin a record and return its row."""
        self._steps.append(step)
        self._lines.append(line)
        self._times.append(time)
        self._sources.append(self._source_index.setdefault(source, len(self._source_index)))
        return len(self._steps) - 1

    def put(self, row: int, key: str, value: float, *, quantum: float) -> None:
        """Put one value into a record."""
        rows, values = self._cells[key]
        rows.append(row)
        values.append(value)
        known = self.quanta.get(key)
        if quantum > 0 and (known is None or (quantum > known) == self._is_padded):
            self.quanta[key] = quantum

    def add_many(
        self,
        steps: np.ndarray,
        *,
        lines: np.ndarray,
        times: np.ndarray,
        source: str,
        columns: Mapping[str, np.ndarray],
    ) -> None:
        """Add records that all have the same metrics."""
        first, source_index = len(self._steps), self._source_index
        index = source_index.setdefault(source, len(source_index))
        self._steps.frombytes(steps.astype(np.int64).tobytes())
        self._lines.frombytes(lines.astype(np.int64).tobytes())
        self._times.frombytes(times.astype(np.float64).tobytes())
        self._sources.frombytes(np.full(len(steps), index, dtype=np.int32).tobytes())
        for key, values in columns.items():
            self._pieces[key].append((range(first, first + len(steps)), values))

    def finish(self) -> Rows:
        """Return the columns; the builder is empty after it."""
        cells = dict(self._pieces)
        for key, (rows, values) in self._cells.items():
            piece = (np.frombuffer(rows, dtype=np.int64), np.frombuffer(values))
            cells[key] = [*cells.get(key, []), piece]
        return Rows(
            steps=np.frombuffer(self._steps, dtype=np.int64),
            lines=np.frombuffer(self._lines, dtype=np.int64),
            times=np.frombuffer(self._times),
            sources=np.frombuffer(self._sources, dtype=np.int32),
            source_names=list(self._source_index),
            cells=cells,
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
