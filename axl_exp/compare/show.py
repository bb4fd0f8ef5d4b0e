"""A comparison on the terminal: the verdict first, then whether it holds, then the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from axl_exp.compare import words
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.config_changes import writers_told
from axl_exp.compare.environment import by_kind, counts_told, grouped
from axl_exp.compare.load import named_runs
from axl_exp.compare.theirs import Theirs
from axl_exp.report.terminal import STYLES, indented, make_facts, make_table, make_tables
from axl_exp.report.text import printable, shorten

_MAX_SHOWN = 40
_MAX_VALUE_WIDTH = 60


def show(comparison: Comparison, console: Console) -> None:
    """Print `comparison` for a person."""
    c = comparison
    icon, style = words.LOOKS[c.verdict.state]
    console.print(Text(f"{icon} {printable(c.verdict.headline)}", style=STYLES[style]))
    for side, runs in (("A", c.runs_a), ("B", c.runs_b)):
        paths = [(f"  {name}", str(run.run_dir.path)) for name, run in named_runs(side, runs)]
        # Who the first is: where its repeats are others, that is told below.
        facts = "; ".join(f"{fact} {told}" for fact, told in words.run_facts(runs[0]))
        console.print(make_facts([paths[0], ("", facts), *paths[1:]]))
    for note in c.notes:
        console.print(indented(f"note: {note}"))
    _show_validity(c, console)
    if c.metrics:
        _show_metrics(c, console)
    if c.time:
        _show_time(c, console)
    if c.losses.num_paired:
        _show_losses(c, console)
    if c.theirs is not None:
        _show_theirs(c.theirs, console)
    if c.checks:
        _heading(console, "Physical checks")
        rows = [(words.check_told(check), check.side, check.what, check.told) for check in c.checks]
        console.print(make_table("", "", "what", "numbers", rows=rows))
    _show_config(c, console)
    _show_environment(c, console)
    _show_parameters(c, console)


def show_all(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print every comparison, and of several first which side is which."""
    if len(comparisons) == 1:
        show(comparisons[0], console)
        return
    console.print(Text(f"{len(comparisons)} sides against {comparisons[0].side_a.name}:"))
    for number, c in enumerate(comparisons, start=1):
        icon, style = words.LOOKS[c.verdict.state]
        told = f"  {number}. {c.side_b.name}: {icon} {c.verdict.headline}"
        console.print(Text(printable(told), style=STYLES[style]))
    for number, c in enumerate(comparisons, start=1):
        console.print()
        title = f"{number}. {c.side_b.name} against {c.side_a.name}"
        console.print(Text(printable(title), style="bold underline"))
        show(c, console)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _show_validity(c: Comparison, console: Console) -> None:
    _heading(console, f"Validity: {counts_told(c.differences)}")
    told = [
        (f"  {label}", ", ".join(d.what for d in found)) for label, found in by_kind(c.differences)
    ]
    if told:
        console.print(make_facts(told))


def _show_environment(c: Comparison, console: Console) -> None:
    if not c.differences:
        return
    _heading(console, "Environment: what differs")
    rows = [
        (group if k == 0 else "", d.kind, d.what, *map(_short, (d.a, d.b)))
        for group, found in grouped(c.differences)
        for k, d in enumerate(found)
    ]
    console.print(make_table("", "means", "what", "A", "B", rows=rows[:_MAX_SHOWN]))
    _show_rest(console, len(rows))


def _show_metrics(c: Comparison, console: Console) -> None:
    _heading(console, "Metrics")
    found = words.metric_rows(c.metrics)
    rows = [
        (m.name, m.a, m.b, m.change, Text(f"{m.icon} {m.state}", STYLES[m.style])) for m in found
    ]
    headers = ("metric", "A", "B", "B against A", "verdict")
    console.print(make_table(*headers, rows=rows, right=(1, 2, 3)))
    console.print(Text("  why, of which steps, by which formula:", style="dim"))
    details = [(f"  {m.name}", f"{m.reason}; {m.window}; {m.formula}") for m in found]
    console.print(make_facts(details), style="dim")
    explained = (f"{e.metric}: {e.told}" for e in c.explanations)
    for line in (*explained, *words.noise_told(c.metrics)):
        console.print(indented(line, style="dim"))


def _show_time(c: Comparison, console: Console) -> None:
    _heading(console, "Where the time went, over the steps that both have")
    found = map(words.time_row, words.time_with_total(c.time))
    rows = [(row.what, row.a, row.b, row.delta) for row in found]
    console.print(make_table("", "A", "B", "B - A", rows=rows, right=(1, 2, 3)))


def _show_losses(c: Comparison, console: Console) -> None:
    _heading(console, f"Losses: {words.losses_told(c)}")
    facts = [(f"  {name}", told) for name, told in words.loss_facts(c)]
    if facts:
        console.print(make_facts([*facts, ("  why", c.explanation)]))


def _show_theirs(theirs: Theirs, console: Console) -> None:
    _heading(console, "As MaxView shows it: theirs, not ours, and no verdict rests on it")
    rows = [
        (f.name, *map(words.their_value, (f.a, f.b, f.diff)), f.shown_a, f.shown_b, f.shown_diff,
         f.what)
        for f in theirs.figures
    ]  # fmt: skip
    headers = ("figure", "A", "B", "B - A", "page A", "page B", "page diff", "what it is")
    for table in make_tables(*headers, rows=rows, right=range(1, 7), width=console.width):
        console.print(table)
    for line in words.theirs_lines(theirs):
        console.print(indented(line))


def _show_config(c: Comparison, console: Console) -> None:
    _heading(console, f"Config: {words.config_told(c)}")
    if not c.changes:
        return
    rows = [
        (change.leaf_class, change.path, *map(_short, (change.before or "-", change.after or "-")))
        for change in c.changes[:_MAX_SHOWN]
    ]
    console.print(make_table("class", "path", "A", "B", rows=rows))
    _show_rest(console, len(c.changes))
    told = [(f"  {change.path}", told) for change in c.changes if (told := writers_told(change))]
    if told:
        console.print(Text("  set by:", style="dim"))
        console.print(make_facts(told[:_MAX_SHOWN]), style="dim")


def _show_parameters(c: Comparison, console: Console) -> None:
    if not c.parameters.told:
        return
    _heading(console, f"Parameters: {c.parameters.told}")
    changes = c.parameters.changes
    rows = [(change.what, change.path, change.a, change.b) for change in changes[:_MAX_SHOWN]]
    if rows:
        console.print(make_table("", "path", "A", "B", rows=rows))
    _show_rest(console, len(changes))


def _short(text: str) -> str:
    return shorten(text, width=_MAX_VALUE_WIDTH)


def _show_rest(console: Console, count: int) -> None:
    if count > _MAX_SHOWN:
        console.print(Text(f"... and {count - _MAX_SHOWN} more: --json has all", style="dim"))
