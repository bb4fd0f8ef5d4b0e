"""A comparison of goldens as text: for a terminal, and for a pull request."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from axl_exp.golden.comparison import GROUPS, Comparison, fact_text
from axl_exp.report.text import printable

# GitHub refuses a comment of more than 65536 characters, and this is half of one: the metrics of a
# suite stand below it (.github/workflows/review.yml).
MAX_MARKDOWN_BYTES = 33_000
_NUM_NAMED = 3

# A row below a title: where it holds, if that is on its line, and whether something is new or gone.
_ROW = re.compile(r" +(?:[^:+-][^:]*: )?(?P<intent>[+-](?= ))?")
_STYLES = {"+": "green", "-": "red"}


def as_text(comparison: Comparison, *, with_configs: bool = True) -> str:
    """Return the comparison as plain lines, by what each change can have an effect on.

    Args:
        comparison: What to tell.
        with_configs: Whether to tell which configs are new or gone.
    """
    if not with_configs:
        comparison = dataclasses.replace(comparison, added=(), removed=())
    lines = []
    for title, blocks in _sections(comparison):
        lines.append(title)
        for where, rows in blocks:
            if len(rows) == 1:
                lines.append(f"  {where}: {rows[0]}" if where else f"  {rows[0]}")
            else:
                lines += [f"  {where}:", *(f"    {row}" for row in rows)]
    return printable("".join(f"{line}\n" for line in lines))


def print_text(console: Console, text: str) -> None:
    """Print what `as_text` returned, on a terminal in colour; a long line is never folded."""
    for line in text.splitlines():
        row = _ROW.match(line)
        style = "bold" if row is None else _STYLES.get(row["intent"], "")
        console.print(Text(line, style), soft_wrap=True)


def as_markdown(comparison: Comparison, *, said: str) -> str:
    """Return the comparison as a comment: a headline, then each section folded, at most 33 KB.

    Args:
        comparison: What to tell.
        said: What was compared, such as `1a2b3c4 and the files in configs_golden`.
    """
    num_configs = len(comparison.configs)
    if not comparison:
        return f"### Configs: no change\n\n{said}.\n"
    head = f"### Configs: {num_configs} of {comparison.num_configs} change\n\n{said}.\n"
    sections = list(_sections(comparison))
    if sections and sections[-1][0] == "facts":
        sections = [sections[-1], *sections[:-1]]  # What it comes to is what is read first.
    texts = [_markdown_section(title, blocks) for title, blocks in sections]
    cut = "\n(Cut here: the whole of it is `python -m axl_exp.golden diff`.)\n"
    room = MAX_MARKDOWN_BYTES - len((head + cut).encode())
    told = []
    for title_text in texts:
        size = len(title_text.encode())
        if size > room:
            told.append(_cut_section(title_text, room) + cut)
            break
        told.append(title_text)
        room -= size
    return head + "".join(told)


def _sections(comparison: Comparison) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """Title and blocks of each section; a block is where something changes, and what."""
    for group in GROUPS:
        of_where: dict[tuple[str, ...], list[str]] = {}
        for row in comparison.rows:
            if row.group == group:
                of_where.setdefault(row.where, []).append(row.text)
        if of_where:
            total = comparison.num_configs
            yield group, [(_where(where, total), rows) for where, rows in of_where.items()]
    for title, names in (("new configs", comparison.added), ("gone configs", comparison.removed)):
        if names:
            yield title, [("", [", ".join(names)])]
    if comparison.facts:
        blocks = [
            (_where(row.where, comparison.num_configs), [", ".join(map(fact_text, row.facts))])
            for row in comparison.facts
        ]
        yield "facts", blocks


def _where(where: Sequence[str], num_configs: int) -> str:
    """Return which configs share a change: the names of a few, or how many with the first."""
    if len(where) <= _NUM_NAMED:
        return ", ".join(where)
    num_named = len({name.split(" on ")[0] for name in where})
    plain = num_named == len(where) and not any(" on " in name for name in where)
    if plain and num_named == num_configs:
        return f"all {num_configs} configs"
    on_meshes = "" if plain else f" ({len(where)} meshes)"
    return f"{num_named} configs{on_meshes} such as {where[0]}"


def _markdown_section(title: str, blocks: list[tuple[str, list[str]]]) -> str:
    num_rows = sum(len(rows) for _, rows in blocks)
    lines = []
    for where, rows in blocks:
        lines += [f"# {where}"] if where else []
        lines += rows
    is_open = " open" if title == "facts" or num_rows <= 10 else ""
    # A row that holds a fence of its own must not end ours.
    body = printable("\n".join(lines)).replace("```", "'''")
    return (
        f"\n<details{is_open}><summary><b>{title}</b>: {num_rows} "
        f"{'change' if num_rows == 1 else 'changes'}</summary>\n\n```diff\n{body}\n```\n\n"
        "</details>\n"
    )


def _cut_section(text: str, room: int) -> str:
    """Return as many whole lines of a section as fit into `room` bytes, its fence closed."""
    end = "```\n\n</details>\n"
    kept = text.encode()[: max(0, room - len(end))].decode("utf-8", "ignore")
    if "```diff\n" not in kept:
        return ""
    return kept[: kept.rfind("\n") + 1] + end
