"""Reads metrics.jsonl into columns. Tolerant of damage, and never silent about it."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from axl_exp.report.text import one_line, shorten
from axl_exp.run.metrics import RESTART, SCHEMA, MetricsError
from axl_exp.run.series import Labels, Series

MAX_STEP = 2**53  # The last integer up to which every float64 is exact.

_CHUNK_LINES = 1024  # About half a megabyte: what one parse makes stays in the cache.
_NON_FINITE = frozenset({"nan", "inf", "-inf"})


@dataclass(frozen=True)
class Problem:
    """A line that could not be read, in whole or in part, and why."""

    line: int  # 1-based.
    reason: str


@dataclass
class Metrics:
    """The records of one metrics file, with restarts folded.

    A restart at step k voids the records of steps after k that stand before it; where a step is
    told twice without a restart, the later line counts.

    Attributes:
        header: The first line; empty where the file has none.
        events: Event records in file order, restarts among them.
        problems: Every line that could not be read, in file order.
        num_records: Step records read, the void ones included.
        num_void: Step records that a restart made void.
        num_repeated: Values dropped because a later line tells the same metric of the same step.
    """

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    num_records: int = 0
    num_void: int = 0
    num_repeated: int = 0
    numbers: dict[str, Series] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)


def read_metrics(path: Path) -> Metrics:
    """Return the columns of the metrics file at `path`.

    A damaged line is skipped and told in `problems`; the others count.

    Raises:
        MetricsError: The file cannot be opened, is of another schema, or holds lines of which none
            is a header or a record.
    """
    reader = _Reader(Metrics(path))
    try:
        with open(path, "rb") as file:
            first = file.readline()
            reader.metrics.header = _header(first, path)
            if not reader.metrics.header:
                reader.read_lines([first] if first else [], first_line=1)
            line = 2
            while lines := list(islice(file, _CHUNK_LINES)):
                reader.read_lines(lines, first_line=line)
                line += len(lines)
    except OSError as error:
        raise MetricsError(f"cannot read {path}: {error.strerror}") from error
    metrics = reader.finish()
    if metrics.problems and not (metrics.header or metrics.num_records or metrics.events):
        problem = metrics.problems[0]
        raise MetricsError(
            f"{path} is not a metrics file: none of its {len(metrics.problems)} lines is a record "
            f"(line {problem.line}: {problem.reason})."
        )
    return metrics


def _header(line: bytes, path: Path) -> dict[str, Any]:
    """Return the header on the first line, or {} where it is not one."""
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(header, dict) or "schema" not in header:
        return {}
    if header["schema"] != SCHEMA:
        raise MetricsError(
            f"{path} has schema {one_line(str(header['schema']))!r}; this version reads {SCHEMA!r}."
        )
    return header


@dataclass
class _Chunk:
    """Values of one key from consecutive lines; `lines` and `steps` are int64 arrays."""

    lines: np.ndarray
    steps: np.ndarray
    values: np.ndarray


class _Reader:
    def __init__(self, metrics: Metrics):
        self.metrics = metrics
        self._numbers: dict[str, list[_Chunk]] = defaultdict(list)
        self._labels: dict[str, list[_Chunk]] = defaultdict(list)
        self._record_chunks: list[tuple[np.ndarray, np.ndarray]] = []  # lines, steps
        self._restarts: list[tuple[int, int]] = []  # line, step

    def read_lines(self, lines: list[bytes], *, first_line: int) -> None:
        # Records of one shape go into columns together; a run has few shapes (train, eval).
        shapes: dict[tuple[str, ...], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for line, record in self._parse(lines, first_line):
            if "event" in record:
                self._event(line, record)
            else:
                shapes[tuple(record)].append((line, record))
        for keys, records in shapes.items():
            self._columns(keys, records)

    def _parse(self, lines: list[bytes], first_line: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield line numbers and records; what is no step record and no event is a problem."""
        for line, record in enumerate(_parse_together(lines) or map(_parse_one, lines), first_line):
            if record is None:
                continue  # A blank line.
            if isinstance(record, str):
                self._problem(line, record)
            elif not isinstance(record, dict):
                self._problem(line, "not a JSON object")
            elif type(step := record.get("step")) is not int or not 0 <= step <= MAX_STEP:
                told = shorten(one_line(repr(step)), width=40)
                self._problem(line, f"step is {told}, not an integer in [0, 2^53]")
            else:
                yield line, record

    def _event(self, line: int, record: dict[str, Any]) -> None:
        self.metrics.events.append(record)
        if record["event"] == RESTART:
            self._restarts.append((line, record["step"]))

    def _columns(self, keys: Sequence[str], records: list[tuple[int, dict[str, Any]]]) -> None:
        lines = np.array([line for line, _ in records], dtype=np.int64)
        flat = list(chain.from_iterable(record.values() for _, record in records))
        columns = {key: flat[i :: len(keys)] for i, key in enumerate(keys)}
        steps = np.array(columns.pop("step"), dtype=np.int64)
        self._record_chunks.append((lines, steps))
        for key, column in columns.items():
            try:
                values = np.frombuffer(array("d", column))  # Takes numbers and nothing else.
            except (TypeError, OverflowError):
                self._mixed_column(key, lines, steps, column)
            else:
                self._numbers[key].append(_Chunk(lines, steps, values))

    def _mixed_column(
        self, key: str, lines: np.ndarray, steps: np.ndarray, column: Sequence[Any]
    ) -> None:
        """Sort values one by one: numbers, labels, null, and what no record may hold."""
        if set(map(type, column)) == {str} and _NON_FINITE.isdisjoint(column):
            self._labels[key].append(_Chunk(lines, steps, np.array(column, dtype=object)))
            return
        numbers: list[tuple[int, float]] = []
        labels: list[tuple[int, str]] = []
        for i, value in enumerate(column):
            if isinstance(value, str) and value not in _NON_FINITE:
                labels.append((i, value))
            elif isinstance(value, (str, bool, int, float)):
                try:
                    numbers.append((i, float(value)))
                except OverflowError:
                    self._problem(int(lines[i]), f"{key!r} is beyond the largest float")
            elif value is not None:
                self._problem(int(lines[i]), f"{key!r} holds a {type(value).__name__}")
        for found, dtype, chunks in (
            (numbers, np.float64, self._numbers),
            (labels, object, self._labels),
        ):
            if found:
                where = [i for i, _ in found]
                values = np.array([value for _, value in found], dtype=dtype)
                chunks[key].append(_Chunk(lines[where], steps[where], values))

    def _problem(self, line: int, reason: str) -> None:
        self.metrics.problems.append(Problem(line, one_line(reason)))

    def finish(self) -> Metrics:
        metrics = self.metrics
        for lines, steps in self._record_chunks:
            metrics.num_records += len(lines)
            metrics.num_void += int(np.count_nonzero(self._void(lines, steps)))
        for key in self._numbers.keys() & self._labels.keys():
            for chunk in self._labels.pop(key):
                for line, text in zip(chunk.lines, chunk.values, strict=True):
                    told = shorten(text, width=40)
                    self._problem(int(line), f"{key!r} is {told!r}, a text among numbers")
        metrics.numbers = {k: Series(*self._counted(c)) for k, c in sorted(self._numbers.items())}
        metrics.labels = {k: Labels.of(*self._counted(c)) for k, c in sorted(self._labels.items())}
        metrics.problems.sort(key=lambda problem: problem.line)
        return metrics

    def _void(self, lines: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return a mask of the records that a later restart made void."""
        if not self._restarts:
            return np.zeros(len(lines), dtype=bool)
        restart_lines, restart_steps = np.array(self._restarts).T
        # The earliest step to which any restart from here on goes back; none after the last one.
        earliest = np.append(np.minimum.accumulate(restart_steps[::-1])[::-1], MAX_STEP)
        return steps > earliest[np.searchsorted(restart_lines, lines)]

    def _counted(self, chunks: list[_Chunk]) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps and the values that count."""
        lines = np.concatenate([chunk.lines for chunk in chunks])
        steps = np.concatenate([chunk.steps for chunk in chunks])
        values = np.concatenate([chunk.values for chunk in chunks])
        order = np.lexsort((lines, steps))
        order = order[~self._void(lines, steps)[order]]
        steps, values = steps[order], values[order]
        last_of_step = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
        self.metrics.num_repeated += int(len(steps) - np.count_nonzero(last_of_step))
        return steps[last_of_step], values[last_of_step]


def _parse_together(lines: list[bytes]) -> list[Any] | None:
    """Return the records of `lines`, parsed in one call; None where any line needs care.

    Several times faster than line by line. Lines that begin and end as objects and number as many
    as the records cannot have run into each other.
    """
    if not all(line.startswith(b"{") and line.endswith(b"}\n") for line in lines):
        return None
    try:
        records = orjson.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:  # Such as NaN, which orjson refuses: the slow way decides.
        return None
    return records if len(records) == len(lines) else None


def _parse_one(line: bytes) -> Any:
    """Return the JSON value of `line`, None where it is blank, or a str: why it has none."""
    if not line.strip():
        return None
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8 text"
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON" if line.endswith(b"\n") else "cut short: the run was killed in it"
    return value if isinstance(value, dict) else []
