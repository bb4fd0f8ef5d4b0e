"""What a person sees while dry runs go on: a line that moves, on a terminal alone."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from axl_exp.report.bar import make_bar
from axl_exp.report.terminal import make_console
from axl_exp.report.text import printable


class SweepProgress:
    """Tells on stderr how far a sweep is. A context manager around it; silent in a pipe."""

    def __init__(self, *, total: int):
        self._bar = make_bar(
            make_console(sys.stderr),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._what = ""
        self._task = self._bar.add_task("", total=total, visible=total > 0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, what: str) -> None:
        """Show what is being done."""
        self._what = printable(what)
        self._bar.update(self._task, description=self._what)

    def stage(self, stage: str, seconds: float) -> None:
        """Show where the compiler is."""
        self._bar.update(self._task, description=f"{self._what}: {stage}, {seconds:.0f} s")

    def at(self, done: int, total: int, what: str) -> None:
        """Show that so many of so many are done, whatever was known before."""
        self._bar.update(
            self._task, completed=done, total=total, description=what, visible=total > 0
        )

    def expect(self, more: int) -> None:
        """So many more are to be done than was known."""
        total = self._bar.tasks[0].total or 0
        self._bar.update(self._task, total=total + more)

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)
