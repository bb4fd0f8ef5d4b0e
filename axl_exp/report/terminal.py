"""Tables and lines for a terminal, plain text where the output is piped."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from axl_exp.report.text import one_line, printable

# A verdict's style, as page.css calls it -> rich's. Never colour alone: an icon and a word too.
STYLES = {"better": "green", "worse": "bold red", "unsure": "yellow", "noise": "default"}

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


def make_tables(
    *headers: str, rows: Sequence[Sequence[str | Text]], right: Sequence[int] = (), width: int
) -> list[Table]:
    """Return `make_table`, as several of them one below the other where one would have to fold.

    Each begins with the first column, and holds as many of the others as fit into `width`.
    """
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    groups: list[list[int]] = [[]]
    for k in range(1, len(headers)):
        taken = sum(widths[i] + 2 for i in (0, *groups[-1]))
        if groups[-1] and taken + widths[k] > width:
            groups.append([])
        groups[-1].append(k)
    return [
        make_table(
            *(headers[k] for k in (0, *group)),
            rows=[[row[k] for k in (0, *group)] for row in rows],
            right=[place for place, k in enumerate((0, *group)) if k in right],
        )
        for group in groups
    ]


def _width(cell: str | Text) -> int:
    text = cell.plain if isinstance(cell, Text) else one_line(cell)
    return max(map(cell_len, text.split("\n")))


def make_facts(facts: Iterable[tuple[str, Any]]) -> Table:
    """Return name and value pairs, one per line, the values aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), value if isinstance(value, Text) else Text(one_line(str(value))))
    return table


def indented(text: str, *, style: str = "") -> Padding:
    """Return a paragraph whose every line stands two columns in."""
    return Padding(Text(printable(text), style=style), (0, 0, 0, 2), expand=False)
