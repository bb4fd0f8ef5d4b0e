"""What a page shows of a log: all of it, or its ends and the lines around what matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from axl_exp.compare.load import Run

# More is in the file itself: a page must open at once.
MAX_LINES = 2000
_MAX_WIDTH = 2000
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LogText:
    """Lines of a log, by number from 1.

    Attributes:
        side: Whose it is.
        name: Unique on the page: an HTML id.
        path: The file.
        lines: (number, text); a jump of the numbers is where lines were left out.
        told: How much of it is here.
        not_understood: Lines that look like metrics and were not read.
    """

    side: str
    name: str
    path: str
    lines: list[tuple[int, str]]
    told: str
    not_understood: list[tuple[int, str]]
    num_not_understood: int


def log_text(side: str, run: Run, *, name: str) -> LogText | None:
    """Return what a page shows of the log of `run`; None where there is none to read."""
    path = run.run_dir.log if run.log is None else run.log.path
    lines = list(_head_and_tail(path))
    if not lines:
        return None
    first = sum(1 for k, (number, _) in enumerate(lines, start=1) if number == k)
    told = "whole" if first == len(lines) else f"the first {first:,} and last "
    if first != len(lines):
        told += f"{len(lines) - first:,} of {lines[-1][0]:,} lines"
    log = run.log
    return LogText(
        side=side,
        name=name,
        path=str(path),
        lines=lines,
        told=told,
        not_understood=[] if log is None else log.not_understood,
        num_not_understood=0 if log is None else log.num_not_understood,
    )


def _head_and_tail(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of the start and the end of a file, each cut where it is endless."""
    half = MAX_LINES // 2
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES)
            rest = file.read(1)
    except OSError:
        return
    if not text or b"\x00" in text[:4096]:  # Event files and the like are no text.
        return
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines[-1] == b"" or rest:
        lines.pop()
    for index, line in enumerate(lines):
        if index < half or index >= len(lines) - half:
            shown = line[:_MAX_WIDTH].decode(errors="replace")
            yield index + 1, shown + ("…" if len(line) > _MAX_WIDTH else "")
