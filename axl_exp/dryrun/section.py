"""A table that looks the same in a terminal, in Markdown and on a page."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Sequence

from rich.console import Console

from axl_exp.report.terminal import make_table
from axl_exp.report.text import one_line


@dataclasses.dataclass(frozen=True)
class Section:
    """A table and what is said around it.

    Attributes:
        before: A line above it.
        headers: Of the columns; none for a text without a table.
        right: Indexes of the columns aligned to the right.
        after: A line below it.
    """

    before: str = ""
    headers: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    right: tuple[int, ...] = ()
    after: str = ""


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print tables one below the other."""
    for i, section in enumerate(sections):
        if i:
            console.print()
        if section.before:
            console.print(one_line(section.before), style="bold")
        if section.headers:
            console.print(make_table(*section.headers, rows=section.rows, right=section.right))
        if section.after:
            console.print(one_line(section.after), style="bold")


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
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ccc }
.number { text-align: right; font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111 } }
"""


def as_html(sections: Iterable[Section], *, title: str) -> str:
    """Return a page that needs nothing but itself."""
    parts = []
    for section in sections:
        if section.before:
            parts.append(f"<h2>{_html(section.before)}</h2>")
        if section.headers:
            lines = [_html_row(section, section.headers, "th")]
            lines += [_html_row(section, row, "td") for row in section.rows]
            parts.append("<table>\n" + "\n".join(lines) + "\n</table>")
        if section.after:
            parts.append(f"<p>{_html(section.after)}</p>")
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{_html(title)}</title>\n"
        f"<style>\n{_STYLE}</style>\n<h1>{_html(title)}</h1>\n{body}\n</html>\n"
    )


def _html_row(section: Section, cells: Sequence[str], tag: str) -> str:
    numeric = [' class="number"' if i in section.right else "" for i in _columns(section)]
    pairs = zip(numeric, cells, strict=True)
    return "<tr>" + "".join(f"<{tag}{kind}>{_html(cell)}</{tag}>" for kind, cell in pairs) + "</tr>"


def _html(text: str) -> str:
    return html.escape(one_line(text))


def _columns(section: Section) -> range:
    return range(len(section.headers))
