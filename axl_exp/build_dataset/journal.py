"""What a build has done so far: a line per part, in a file that becomes part of the dataset.

A part is a stretch of records, and the shards that they filled. Its line is written once its shards
lie on the disk whole, so that a build that was killed goes on after the last line. No line has a
time or a place in it that two builds of the same files would not share.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from axl_exp.data import DataError

JOURNAL_NAME = "build.jsonl"


class Shard(TypedDict):
    """A file of examples."""

    name: str
    num_examples: int
    num_bytes: int
    sha256: str
    """Of the serialized examples, in order."""


class Part(TypedDict):
    """What a stretch of records came to."""

    end: tuple[int, int]
    """Index of the file, and number of the record, where the next part begins."""
    files: dict[str, list[Any]]
    """What identifies each file that was read from, by its index."""
    num_records: int
    shards: dict[str, Shard]
    """By split."""
    num_text_bytes: int
    num_tokens: int
    skipped: dict[str, int]
    """How many records, by reason."""
    examples: list[dict[str, Any]]
    """The first few of each reason."""


class Position(NamedTuple):
    """Where a build goes on."""

    file: int
    record: int


class Journal:
    """The journal of one build.

    Attributes:
        parts: What is done, in order.
    """

    def __init__(self, folder: Path, header: dict[str, Any]):
        """Read the journal in `folder`, or begin one.

        Raises:
            DataError: There is one of another build.
        """
        self._path = folder / JOURNAL_NAME
        self.parts: list[Part] = []
        # As JSON gives it back.
        header = json.loads(json.dumps(header))
        lines = _whole_lines(self._path)
        if len(lines) < 2:  # Nothing is done that other flags could not do anew.
            self._write([header])
            return
        if lines[0] != header:
            raise DataError(_difference(lines[0], header, folder))
        self.parts = lines[1:]
        self._write([header, *self.parts])

    @property
    def position(self) -> Position:
        """Where the next part begins."""
        return Position(*self.parts[-1]["end"]) if self.parts else Position(0, 0)

    def add(self, part: Part) -> None:
        """Note that a part is done; its shards must lie on the disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(part) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.parts.append(part)

    def _write(self, lines: list[Any]) -> None:
        """Write the file anew, without the torn line that a kill may have left."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(temporary, self._path)


def _whole_lines(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]  # What no newline ends was not written whole.


def _difference(theirs: dict[str, Any], ours: dict[str, Any], folder: Path) -> str:
    name = next(key for key in ours if theirs.get(key) != ours[key])
    return (
        f"{folder} has an unfinished build with other {name.replace('_', ' ')}: "
        f"{_short(theirs.get(name))}, not {_short(ours[name])}. Give the same flags to go on with "
        "it, or delete that directory to begin again."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
