"""A stretch of mended text that knows its lines and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass
class Block:
    """Whole lines of a log, or whole records where it has no line ends.

    Attributes:
        text: Mended text.
        first_line: Number of its first line, from 1.
        labels: Label of each line; empty where lines have none.
        is_first, is_last: Whether the log begins or ends with it.
    """

    text: bytes
    first_line: int = 1
    labels: list[bytes] = field(default_factory=list)
    is_first: bool = True
    is_last: bool = True

    @cached_property
    def _line_ends(self) -> np.ndarray:
        return np.flatnonzero(np.frombuffer(self.text, dtype=np.uint8) == 10)

    @property
    def num_line_ends(self) -> int:
        """How many line ends it has."""
        return len(self._line_ends)

    @cached_property
    def num_lines(self) -> int:
        """How many lines it has; what stands behind the last line end is one."""
        return len(self.line_spans()[0])

    def line_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each line starts and ends, without its line end."""
        ends = self._line_ends
        if not self.text.endswith(b"\n"):
            ends = np.append(ends, len(self.text))
        return np.append(0, ends[:-1] + 1), ends

    def find_all(self, needle: bytes) -> Iterator[int]:
        """Yield the offset of every `needle`; much faster than a pattern where it is rare."""
        offset = self.text.find(needle)
        while offset >= 0:
            yield offset
            offset = self.text.find(needle, offset + 1)

    def matches(self, pattern: re.Pattern[bytes], *, near: bytes) -> Iterator[re.Match[bytes]]:
        """Return the matches of a pattern, of which each holds the text `near`: it is rare."""
        return pattern.finditer(self.text) if near in self.text else iter(())

    def line(self, offset: int) -> int:
        """Return the number of the line at `offset`."""
        return self.first_line + int(np.searchsorted(self._line_ends, offset))

    def lines(self, offsets: np.ndarray) -> np.ndarray:
        """Return the numbers of the lines at `offsets`."""
        return self.first_line + np.searchsorted(self._line_ends, offsets)

    def label(self, line: int) -> str:
        """Return the label of a line; empty where lines have none."""
        index = line - self.first_line
        return self.labels[index].decode(errors="replace") if index < len(self.labels) else ""
