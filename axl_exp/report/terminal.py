"""Tables and lines for a terminal, plain text where the output is piped."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from axl_exp.report.text import one_line

PIPED_WIDTH = 100  # Where there is no terminal to ask; COLUMNS overrides it.


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise it on: rich would exit with 1, a code that commands give a meaning."""
        raise  # noqa: PLE0704 (rich calls this where it handles the BrokenPipeError)


def make_console(file: IO[str] | None = None, *, width: int | None = None) -> Console:
    """Return a console on `file` (stdout by default).

    Colour only on a terminal. Nothing in the text is taken for markup. Characters that the output's
    encoding lacks become `?`, never an error.
    """
    file = file or sys.stdout
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="replace")
    console = _Console(file=file, markup=False, highlight=False, emoji=False, width=width)
    if width is None and not console.is_terminal and "COLUMNS" not in console._environ:
        console.width = PIPED_WIDTH
    return console


def make_table(
    *headers: str, rows: Iterable[Sequence[str | Text]], right: Sequence[int] = (), title: str = ""
) -> Table:
    """Return a borderless table: a bold header, columns two spaces apart, long values folded.

    Args:
        rows: Cells; a str is taken as data (control characters spelled out), a Text as it is.
        right: Indexes of the columns aligned to the right.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    table.title = Text(title, style="bold") if title else None
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row))
    return table


def make_facts(facts: Iterable[tuple[str, Any]]) -> Table:
    """Return name and value pairs, one per line, the values aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), value if isinstance(value, Text) else Text(one_line(str(value))))
    return table
