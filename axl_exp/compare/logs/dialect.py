"""How a trainer prints its step records, and how they are found.

A record is an anchor with a step number and then fields, one after another, for as long as they
match. Line ends play no part: a log that was folded into one line reads the same.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import repeat

from axl_exp.compare.logs.clock import Clock

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
        clock: The timestamp in front of a record; None for none.
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
    clock: Clock | None = None
    before: re.Pattern[bytes] | None = None
    step: Callable[[re.Match[bytes]], int] | None = None
    _known: dict[bytes, Name] = dataclass_field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def may_be_in(self, text: bytes) -> bool:
        """Return whether a text may hold a record; much faster than to search one."""
        return not self.needles or any(needle in text for needle in self.needles)

    def name(self, theirs: bytes) -> Name:
        """Return our name of a field; forks write `_` for a space."""
        if theirs not in self._known:
            self._known[theirs] = self._name(theirs)
        return self._known[theirs]

    def _name(self, theirs: bytes) -> Name:
        text = re.sub(r"\s+", " ", theirs.decode("utf-8", errors="replace")).strip()
        name = self.names.get(text) or self.names.get(text.replace("_", " "))
        return name or Name(f"{self.prefix}/{text}")


# How far before a record its timestamp, and what belongs to it, may stand.
WINDOW = 200


@dataclass(frozen=True)
class Record:
    """A step record: its anchor and its fields, those in front of the anchor last.

    Attributes:
        start, end: Where it stands, without its timestamp.
        window: Where what stands in front of it may begin.
    """

    dialect: Dialect
    anchor: re.Match[bytes]
    fields: list[re.Match[bytes]]
    start: int
    end: int
    window: int

    def step(self, last_step: int) -> int:
        """Return its step; `last_step` where it tells none."""
        if self.dialect.step is not None:
            return self.dialect.step(self.anchor)
        return int(self.anchor["step"][:17]) if self.anchor["step"] else last_step

    def marks(self) -> Iterator[str]:
        """Yield the metrics that are 1 because the anchor is as it is."""
        for mark, matched in self.anchor.groupdict().items():
            if self.dialect.step is None and mark != "step" and matched:
                yield f"mark/{mark}"

    def time(self) -> tuple[float, bytes]:
        """Return its timestamp in seconds and who wrote it; NaN and nothing where untold."""
        if self.dialect.clock is None:
            return float("nan"), b""
        return self.dialect.clock(self.anchor.string[self.window : self.anchor.start()])


def find_records(
    text: bytes, dialects: Sequence[Dialect], *, start: int = 0, end: int | None = None
) -> Iterator[Record]:
    """Yield the records in `text[start:end]`, in order."""
    end = len(text) if end is None else end
    anchors = [
        zip(dialect.anchor.finditer(text, start, end), repeat(dialect))
        for dialect in dialects
        if not dialect.needles or any(text.find(n, start, end) >= 0 for n in dialect.needles)
    ]
    for anchor, dialect in heapq.merge(*anchors, key=lambda found: found[0].start()):
        fields, position = [], anchor.end()
        while field := dialect.field.match(text, position, end):
            fields.append(field)
            position = field.end()
        if not fields:
            continue
        begin, window = anchor.start(), max(0, anchor.start() - WINDOW)
        if dialect.before is not None:
            early = dialect.before.search(text, window, begin)
            if early is not None:
                fields.append(early)
                begin = early.start()
        yield Record(dialect, anchor, fields, begin, position, window)


def numbers_of(field: re.Match[bytes], dialect: Dialect) -> Iterator[tuple[Name, str, float]]:
    """Yield name and group of every number of a field, and how many of our units its unit is."""
    groups = field.groupdict()
    theirs, unit = groups.pop("name", None), groups.pop("unit", None)
    for group, value in groups.items():
        if value is None:
            continue
        if group != "value":
            yield dialect.name(group.encode()), group, 1.0
        elif unit is None or unit in _UNITS:
            yield dialect.name(theirs or b""), group, _UNITS[unit] if unit else 1.0
        else:
            yield dialect.name((theirs or b"") + b" (" + unit + b")"), group, 1.0
