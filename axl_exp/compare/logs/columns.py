"""Records of one layout, read many at once: digits are taken from equal places of equal lines.

A run prints few shapes of line. Two lines that are the same but for their digits have one layout,
and no dialect asks which digit stands where: so what its patterns find in one line stands at the
same places in all others, and their digits become numbers in a few array operations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import is_moment, seconds_of
from axl_exp.compare.logs.dialect import WINDOW, Dialect, Record, find_records, numbers_of
from axl_exp.compare.logs.numbers import quantum, read_number
from axl_exp.compare.logs.rows import RowsBuilder

_MIN_LINES = 16  # Fewer are read faster one by one.
_MIN_PER_LAYOUT = 16  # Lines per layout, on average, or a block is read one by one.
_MIN_LAYOUTS = 16  # Before the average tells.
_MAX_DIGITS = 15  # So that every number is exact in float64.
_MAX_POWER = 22  # The last power of ten that is.
_VALUE = re.compile(
    rb"(?P<sign>[-+]?)(?P<whole>[\d,]*)(?:\.(?P<decimals>\d*))?(?:[eE](?P<exponent>[-+]?\d+))?"
)
_ZERO, _NINE = ord("0"), 9


class _NoLayoutError(Exception):
    """A line holds something that other lines of its layout may have otherwise."""


def read_columns(
    block: Block, dialects: Sequence[Dialect], rows: RowsBuilder
) -> list[tuple[int, int]] | None:
    """Read the records of `block` into `rows`; return the spans that were understood.

    The one span is that of the whole block where records are all that it holds. None, and nothing
    was read, where records are not one to a line, or hardly two of them have one layout.
    """
    lines = _candidates(block, dialects)
    if lines is None:
        return None
    starts, ends = (places[lines] for places in block.line_spans())
    if block.is_last and ends[-1] == len(block.text):
        return None  # The last number may be cut.
    table = _Table.of(len(starts))
    numbers = block.lines(starts)
    try:
        _fill(table, block, dialects, starts, ends)
        _check_neighbours(table, block, dialects, starts, ends)
    except _NoLayoutError:
        return None
    if block.labels:
        table.name_sources([block.label(line) for line in numbers.tolist()])
    table.add_to(rows, lines=numbers)
    if table.is_all and len(starts) == block.num_lines:
        return [(0, len(block.text))]
    told = table.is_told
    return list(zip(table.begins[told].tolist(), table.ends[told].tolist(), strict=True))


def _candidates(block: Block, dialects: Sequence[Dialect]) -> np.ndarray | slice | None:
    """Return the lines in which a needle stands; None where there are few."""
    needles = {needle for dialect in dialects for needle in dialect.needles}
    counts = {needle: block.text.count(needle) for needle in needles}
    count = sum(counts.values())
    is_simple = all(d.needles and d.step is None for d in dialects)
    if not is_simple or min(count, block.num_lines) < _MIN_LINES:
        return None
    if count == block.num_lines:
        return slice(None)
    offsets = [offset for needle in needles if counts[needle] for offset in block.find_all(needle)]
    lines = np.unique(block.lines(np.array(offsets))) - block.first_line
    return lines if len(lines) >= _MIN_LINES else None


def _fill(
    table: _Table,
    block: Block,
    dialects: Sequence[Dialect],
    starts: np.ndarray,
    ends: np.ndarray,
) -> None:
    lengths = ends - starts
    num_layouts = num_read = 0
    found, counts = np.unique(lengths, return_counts=True)
    for length in found[np.argsort(-counts)].tolist():  # What there is most of tells the average.
        left = np.flatnonzero(lengths == length)
        lines = _gather(block.text, starts[left], length)
        while len(left):
            num_layouts += 1
            if num_layouts > _MIN_LAYOUTS and num_read < _MIN_PER_LAYOUT * num_layouts:
                raise _NoLayoutError
            start = int(starts[left[0]])
            layout = _layout(block, dialects, start, start + length)
            digits = lines ^ layout.template
            is_same = (digits <= layout.limits).all(axis=1)
            num_read += int(np.count_nonzero(is_same))
            if is_same.all():
                table.put(left, starts[left], layout, digits)
                break
            table.put(left[is_same], starts[left[is_same]], layout, digits[is_same])
            left, lines = left[~is_same], lines[~is_same]


def _gather(text: bytes, starts: np.ndarray, length: int) -> np.ndarray:
    """Return the bytes of lines of one length, one line per row."""
    windows = sliding_window_view(np.frombuffer(text, dtype=np.uint8), length)
    apart = np.diff(starts)
    if len(apart) and (apart == apart[0]).all():  # No copy where they stand evenly.
        return windows[starts[0] : starts[-1] + 1 : apart[0]]
    return windows[starts]


def _check_neighbours(
    table: _Table,
    block: Block,
    dialects: Sequence[Dialect],
    starts: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Raise where a record begins on one line and goes on with the next one."""
    text, told = block.text, table.is_told
    is_last = np.append(starts[1:] > ends[:-1] + 1, True)  # The next line holds no record.
    for end in table.ends[told & is_last].tolist():
        if any(dialect.field.match(text, end) for dialect in dialects):
            raise _NoLayoutError
    for start, end in zip(starts[~told].tolist(), ends[~told].tolist(), strict=True):
        for dialect in dialects:
            for anchor in dialect.anchor.finditer(text, max(0, start - WINDOW), end + WINDOW):
                if anchor.start() < end and anchor.end() > start:
                    raise _NoLayoutError


@dataclass(frozen=True)
class _Number:
    """Where the digits of a number stand in every line of a layout.

    Attributes:
        places: Of all digits, the point left out; empty for what has none, as `nan`.
        decimals: How many of them stand behind the point.
        is_negative: Whether it has a minus.
        exponent: The number behind an `e`.
        constant: Its value where it has no digits.
        text: As one line has it.
    """

    places: list[int]
    decimals: int = 0
    is_negative: bool = False
    exponent: _Number | None = None
    constant: float = 0.0
    text: bytes = b""

    @classmethod
    def at(cls, text: bytes, begin: int) -> _Number:
        """Return where the digits of `text` stand in a line in which it begins at `begin`.

        Raises:
            _NoLayoutError: It has more digits than a whole number holds.
        """
        match = _VALUE.fullmatch(text)
        places = [] if match is None else [
            begin + i
            for group in ("whole", "decimals")
            for i in range(*match.span(group))
            if text[i] != ord(",")
        ]  # fmt: skip
        if match is None or not places:
            return cls([], constant=read_number(text), text=text)
        if len(places) > _MAX_DIGITS:
            raise _NoLayoutError
        decimals, exponent = match["decimals"] or b"", match["exponent"]
        return cls(
            places,
            decimals=len(decimals),
            is_negative=match["sign"] == b"-",
            exponent=cls.at(exponent, begin + match.start("exponent")) if exponent else None,
            text=text,
        )

    def integers(self, digits: np.ndarray) -> np.ndarray:
        """Return the digits as whole numbers."""
        found = np.zeros(len(digits), dtype=np.int64 if len(self.places) > 9 else np.int32)
        for place in self.places:
            found *= 10
            found += digits[:, place]
        return found

    def values(self, digits: np.ndarray) -> tuple[np.ndarray, list[float]]:
        """Return what Python's float makes of each, and the units of the last digits there are."""
        if not self.places:
            return np.full(len(digits), self.constant), []
        whole = self.integers(digits).astype(np.float64)
        units = [quantum(self.text)]
        if self.exponent is None:
            values = whole / 10.0**self.decimals if self.decimals else whole
        else:
            exponents = self.exponent.integers(digits)
            powers = (-exponents if self.exponent.is_negative else exponents) - self.decimals
            if np.abs(powers).max() > _MAX_POWER:
                raise _NoLayoutError
            scale = 10.0 ** np.abs(powers)
            values = np.where(powers < 0, whole / scale, whole * scale)
            units = [10.0 ** int(powers.min()), 10.0 ** int(powers.max())]
        return -values if self.is_negative else values, units


@dataclass(frozen=True)
class _Layout:
    """What stands where in all lines that are one line but for their digits.

    Attributes:
        template: The line, 0 in place of its digits: the digits of a line are what differs.
        limits: How much may differ: 9 where a digit stands, 0 elsewhere.
        record: What was found in the one line; None for nothing.
        start: Where that line begins.
        numbers: name -> where, and by what its digits are multiplied and divided.
        clock: The parts of its timestamp.
        is_all: Whether the line holds a timestamp and a record alone.
    """

    template: np.ndarray
    limits: np.ndarray
    record: Record | None = None
    start: int = 0
    step: _Number | None = None
    numbers: dict[str, tuple[_Number, float, float]] = field(default_factory=dict)
    clock: dict[str, _Number] = field(default_factory=dict)
    is_all: bool = False


def _layout(block: Block, dialects: Sequence[Dialect], start: int, end: int) -> _Layout:
    """Return the layout of the line from `start` to `end`."""
    text = block.text
    template = np.frombuffer(text[start:end], dtype=np.uint8)
    is_digit = (template >= _ZERO) & (template <= _ZERO + _NINE)
    records = list(find_records(text, dialects, start=start, end=end))
    numbers: dict[str, tuple[_Number, float, float]] = {}
    clock: dict[str, _Number] = {}
    record, step, is_all = None, None, False
    if records:
        record = records[0]
        anchor = record.anchor
        goes_on = any(d.field.match(text, record.end) for d in dialects)
        if len(records) > 1 or record.start < start or goes_on or not anchor["step"]:
            raise _NoLayoutError
        step = _Number.at(anchor["step"], anchor.start("step") - start)
        for match in record.fields:
            for name, group, factor in numbers_of(match, record.dialect):
                number = _Number.at(match[group], match.start(group) - start)
                numbers[name.key] = (number, factor, name.per_unit)
            if match.groupdict().get("name"):  # Its digits are no number.
                is_digit[match.start("name") - start : match.end("name") - start] = False
        clock, stamp = _clock(text, record, start)
        around = text[start : stamp[0]], text[stamp[1] : record.start], text[record.end : end]
        is_all = bool(clock) and not b"".join(around).strip(b" \t\r[]")
    return _Layout(
        template=np.where(is_digit, _ZERO, template).astype(np.uint8),
        limits=np.where(is_digit, _NINE, 0).astype(np.uint8),
        record=record,
        start=start,
        step=step,
        numbers=numbers,
        clock=clock,
        is_all=is_all,
    )


def _clock(text: bytes, record: Record, start: int) -> tuple[dict[str, _Number], tuple[int, int]]:
    """Return where the parts of a record's timestamp stand, and its span; empty for none."""
    clock = record.dialect.clock
    before = text[record.window : record.anchor.start()]
    found = clock.find(before) if clock else None
    if found is None:
        if clock and not clock.is_on_line and clock.pattern.search(text):
            raise _NoLayoutError  # That of another line may count.
        return {}, (start, start)
    if record.window + found.start() < start:
        raise _NoLayoutError
    parts = {
        name: _Number.at(digits, record.window + found.start(name) - start)
        for name, digits in found.groupdict().items()
        if digits is not None
    }
    return parts, (record.window + found.start(), record.window + found.end())


@dataclass
class _Table:
    """Records of a block, a row for every line that may hold one."""

    is_told: np.ndarray
    steps: np.ndarray
    times: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    source_of: np.ndarray
    sources: dict[str, int] = field(default_factory=lambda: {"": 0})
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    units: list[tuple[str, float]] = field(default_factory=list)
    is_all: bool = True

    @classmethod
    def of(cls, num: int) -> _Table:
        whole = [np.zeros(num, dtype=np.int64) for _ in range(4)]
        steps, begins, ends, source_of = whole
        return cls(np.zeros(num, bool), steps, np.full(num, np.nan), begins, ends, source_of)

    def put(
        self, index: np.ndarray, starts: np.ndarray, layout: _Layout, digits: np.ndarray
    ) -> None:
        """Put the lines of one layout into the rows `index`."""
        self.is_all &= layout.is_all
        if layout.record is None or layout.step is None:
            return
        self.is_told[index] = True
        self.begins[index] = starts + (layout.record.start - layout.start)
        self.ends[index] = starts + (layout.record.end - layout.start)
        self.steps[index] = layout.step.integers(digits)
        if layout.clock:
            self._put_times(index, layout, digits)
        for mark in layout.record.marks():
            self._set(mark, index, 1.0)
        for name, (number, factor, per_unit) in layout.numbers.items():
            values, units = number.values(digits)
            self._set(name, index, values * factor / per_unit)
            self.units.extend((name, unit * factor / per_unit) for unit in units)

    def _put_times(self, index: np.ndarray, layout: _Layout, digits: np.ndarray) -> None:
        parts = dict(layout.clock)
        writer, part = parts.pop("writer", None), parts.get("part")
        numbers = {name: _plain(number.integers(digits)) for name, number in parts.items()}
        seconds = seconds_of(numbers, num_digits=len(part.places) if part else 0)
        self.times[index] = np.where(is_moment(numbers), seconds, np.nan)
        if writer is not None:
            found = writer.integers(digits)
            for value in np.unique(found):
                name = f"{value:0{len(writer.places)}d}"
                self.source_of[index[found == value]] = self._source(name)

    def name_sources(self, labels: Sequence[str]) -> None:
        """Put the labels of lines in the place of who wrote them."""
        for row, label in enumerate(labels):
            if label:
                self.source_of[row] = self._source(label)

    def add_to(self, rows: RowsBuilder, *, lines: np.ndarray) -> None:
        """Add the records, which stand on `lines`."""
        told = np.flatnonzero(self.is_told)
        used, first, source_of = np.unique(
            self.source_of[told], return_index=True, return_inverse=True
        )
        order = np.argsort(first)  # As if they had been added one by one.
        names = list(self.sources)
        columns = {}
        for name, (has, values) in self.columns.items():
            where = np.flatnonzero(has[told])
            columns[name] = where, values[told[where]]
        rows.add_many(
            self.steps[told],
            lines=lines[told],
            times=self.times[told],
            sources=[names[code] for code in used[order]],
            source_of=np.argsort(order)[source_of],
            columns=columns,
        )
        for name, unit in self.units:
            rows.note_quantum(name, unit)

    def _source(self, name: str) -> int:
        return self.sources.setdefault(name, len(self.sources))

    def _set(self, name: str, index: np.ndarray, values: np.ndarray | float) -> None:
        if name not in self.columns:
            num = len(self.steps)
            self.columns[name] = np.zeros(num, dtype=bool), np.empty(num)
        has, column = self.columns[name]
        has[index] = True
        column[index] = values


def _plain(numbers: np.ndarray) -> np.ndarray | int:
    """Return int64, or one number where all are the same: a date hardly changes in a block."""
    first = int(numbers[0])
    return first if (numbers == first).all() else numbers.astype(np.int64)
