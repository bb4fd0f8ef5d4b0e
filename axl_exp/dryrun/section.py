"""A table that looks the same in a terminal, in Markdown and on a page."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console

from axl_exp.report.terminal import make_table
from axl_exp.report.text import one_line


@dataclasses.dataclass(frozen=True)
class Section:
    """A table and what is said around it.

    Attributes:
        before: A line above it.
        headers: Of the columns, all of them empty for a table without; none for a text alone.
        right: Indexes of the columns aligned to the right.
        after: A line below it.
        narrow: The same, for a console that this is too wide for.
    """

    before: str = ""
    headers: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    right: tuple[int, ...] = ()
    after: str = ""
    narrow: Sequence[Section] = ()


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print tables one below the other; in a pipe as wide as keeps a row in one line."""
    sections = list(sections)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = max(console.width, *map(table_width, sections))
    narrowed = [
        part
        for section in sections
        for part in (section.narrow if table_width(section) > console.width else ()) or (section,)
    ]
    for i, section in enumerate(narrowed):
        if i:
            console.print()
        if section.before:
            console.print(one_line(section.before), style="bold")
        if section.headers:
            table = make_table(*section.headers, rows=section.rows, right=section.right)
            table.show_header = any(section.headers)
            console.print(table)
        if section.after:
            console.print(one_line(section.after), style="bold")


# A last column is for texts, which may fold.
_LAST_COLUMN = 40


def table_width(section: Section) -> int:
    """Return the width at which no column of a table but the last has to fold."""
    columns = list(zip(section.headers, *section.rows, strict=True))
    widths = [max(cell_len(one_line(cell)) for cell in column) for column in columns]
    last = sum(min(width, _LAST_COLUMN) for width in widths[-1:])
    return sum(width + 2 for width in widths[:-1]) + last


def as_markdown(sections: Iterable[Section]) -> str:
    """Return the tables as Markdown."""
    blocks = []
    for section in sections:
        if section.before:
            blocks.append(f"**{_md(section.before)}**")
        if section.headers:
            lines = [
                f"| {' | '.join(map(_md, section.headers))} |",
                "|" + "".join("---:|" if i in section.right else "---|" for i in _columns(section)),
                *(f"| {' | '.join(map(_md, row))} |" for row in section.rows),
            ]
            blocks.append("\n".join(lines))
        if section.after:
            blocks.append(_md(section.after))
    return "\n\n".join(blocks) + "\n"


def _md(text: str) -> str:
    return one_line(text).replace("|", "\\|").replace("*", "\\*")


_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
table { border-collapse: collapse }
.wide { overflow-x: auto; margin: 1rem 0 }
.part { padding-left: 2rem }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ccc }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111 } }
"""


def as_html(sections: Iterable[Section], *, title: str) -> str:
    """Return a page that needs nothing but itself."""
    parts = []
    for section in sections:
        if section.before and section.before != title:
            parts.append(f"<h2>{_html(section.before)}</h2>")
        if section.headers:
            lines = [_html_row(section, section.headers, "th")] if any(section.headers) else []
            lines += [_html_row(section, row, "td") for row in section.rows]
            table = "\n".join(lines)
            parts.append(f'<div class="wide"><table>\n{table}\n</table></div>')
        if section.after:
            parts.append(f"<p>{_html(section.after)}</p>")
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{_html(title)}</title>\n"
        f"<style>\n{_STYLE}</style>\n<h1>{_html(title)}</h1>\n{body}\n</html>\n"
    )


def _html_row(section: Section, cells: Sequence[str], tag: str) -> str:
    html_cells = []
    for i, cell in enumerate(cells):
        kind = "number" if i in section.right else "part" if cell.startswith(" ") else ""
        of_class = f' class="{kind}"' if kind else ""
        html_cells.append(f"<{tag}{of_class}>{_html(cell)}</{tag}>")
    return "<tr>" + "".join(html_cells) + "</tr>"


def _html(text: str) -> str:
    return html.escape(one_line(text))


def _columns(section: Section) -> range:
    return range(len(section.headers))
