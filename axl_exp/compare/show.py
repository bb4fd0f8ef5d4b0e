"""A comparison on the terminal: the verdict first, then whether it holds, then the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from axl_exp.compare.checks import Check
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.config_changes import writers_told
from axl_exp.compare.explain import Explanation
from axl_exp.compare.load import Run
from axl_exp.compare.losses import LossComparison, identical_told
from axl_exp.compare.parameters import ParameterComparison
from axl_exp.compare.theirs import Theirs
from axl_exp.compare.time_use import TimeUse
from axl_exp.compare.validity import Kind
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.report.terminal import make_facts, make_table
from axl_exp.report.text import (
    format_bytes,
    format_number,
    format_seconds,
    printable,
    shorten,
)

# Never colour alone: an icon and the word too.
_LOOKS = {
    State.BETTER: ("▲", "green"),
    State.WORSE: ("▼", "bold red"),
    State.WITHIN_NOISE: ("≈", "default"),
    State.NOT_COMPARABLE: ("?", "yellow"),
}
_ASSUMED = (
    "Fewer than three runs per side, and no three runs of one code stored: floors are assumed, not "
    "measured, and drift between runs is in no interval."
)
_MAX_SHOWN = 40
_MAX_VALUE_WIDTH = 60


def show(comparison: Comparison, console: Console) -> None:
    """Print `comparison` for a person."""
    c = comparison
    console.print(Text(f"{_LOOKS[c.verdict.state][0]} ", style=_LOOKS[c.verdict.state][1]), end="")
    console.print(Text(printable(c.verdict.headline), style=_LOOKS[c.verdict.state][1]))
    console.print(make_facts([*_paths("  A", c.runs_a), *_paths("  B", c.runs_b)]))
    for note in c.notes:
        console.print(Text(f"  note: {printable(note)}"))
    _show_differences(c, console)
    if c.metrics:
        _show_metrics(c.metrics, c.explanations, console)
    if c.time:
        _show_time(c.time, console)
    if c.losses.num_paired:
        _show_losses(c.losses, c.explanation, console)
    if c.theirs is not None:
        _show_theirs(c.theirs, console)
    if c.checks:
        _show_checks(c.checks, console)
    _show_config(c, console)
    _show_parameters(c.parameters, console)


def show_all(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print every comparison, and of several first which side is which."""
    if len(comparisons) == 1:
        show(comparisons[0], console)
        return
    console.print(Text(f"{len(comparisons)} sides against {comparisons[0].side_a.name}:"))
    for number, c in enumerate(comparisons, start=1):
        icon, style = _LOOKS[c.verdict.state]
        told = f"  {number}. {c.side_b.name}: {icon} {c.verdict.headline}"
        console.print(Text(printable(told), style=style))
    for number, c in enumerate(comparisons, start=1):
        console.print()
        title = f"{number}. {c.side_b.name} against {c.side_a.name}"
        console.print(Text(printable(title), style="bold underline"))
        show(c, console)


def _paths(name: str, runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return the path of every run, beside the name of its side."""
    if len(runs) == 1:
        return [(name, str(runs[0].run_dir.path))]
    return [(f"{name}{k}", str(run.run_dir.path)) for k, run in enumerate(runs, start=1)]


def _show_theirs(theirs: Theirs, console: Console) -> None:
    _heading(console, "As MaxView shows it: theirs, not ours, and no verdict rests on it")
    rows = [
        (f.name, *(_their_value(v) for v in (f.a, f.b, f.diff)), f.shown_a, f.shown_b, f.shown_diff,
         f.what)
        for f in theirs.figures
    ]  # fmt: skip
    headers = ("figure", "A", "B", "B - A", "page A", "page B", "page diff", "what it is")
    console.print(make_table(*headers, rows=rows, right=(1, 2, 3, 4, 5, 6)))
    if theirs.average_told:
        console.print(Text(f"  {theirs.average_told}"))
    for long in theirs.long_steps:
        parts = " + ".join(f"{seconds:.3f} {what}" for what, seconds in long.parts)
        what = "" if long.is_printed else " waited in its save, in no printed step,"
        console.print(
            Text(f"  {long.side}, step {long.step}:{what} {long.seconds:.3f} s = {parts}")
        )


def _their_value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4f}"


def _show_checks(checks: Sequence[Check], console: Console) -> None:
    _heading(console, "Physical checks")
    rows = [("✓ holds" if c.holds else "✗ FAILS", c.side, c.what, c.told) for c in checks]
    console.print(make_table("", "", "what", "numbers", rows=rows))


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _show_differences(c: Comparison, console: Console) -> None:
    counts = {kind: sum(d.kind is kind for d in c.differences) for kind in Kind}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    _heading(console, f"Validity: {told or 'the environments are the same'}")
    if not c.differences:
        return
    rows = [
        (
            d.kind.value,
            d.what,
            shorten(d.a, width=_MAX_VALUE_WIDTH),
            shorten(d.b, width=_MAX_VALUE_WIDTH),
        )
        for d in c.differences[:_MAX_SHOWN]
    ]
    console.print(make_table("", "what", "A", "B", rows=rows))
    _show_rest(console, len(c.differences))


def _show_metrics(
    metrics: Sequence[MetricResult], explanations: Sequence[Explanation], console: Console
) -> None:
    _heading(console, "Metrics")
    rows = []
    for m in metrics:
        icon, style = _LOOKS[m.state]
        change = "" if m.relative is None else f"{100 * m.relative:+.2f} %"
        rows.append(
            (m.name, _value(m, m.a), _value(m, m.b), change, Text(f"{icon} {m.state}", style))
        )
    headers = ("metric", "A", "B", "B against A", "verdict")
    console.print(make_table(*headers, rows=rows, right=(1, 2, 3)))
    console.print(Text("  why, of which steps, by which formula:", style="dim"))
    details = [(f"  {m.name}", f"{_reason(m)}; {m.window}; {m.formula}") for m in metrics]
    console.print(make_facts(details), style="dim")
    for line in (*(f"{e.metric}: {e.told}" for e in explanations), *_noise_told(metrics)):
        console.print(Text(f"  {printable(line)}", style="dim"))


def _noise_told(metrics: Sequence[MetricResult]) -> list[str]:
    """Return what the verdicts rest on, and how many more runs would detect 1 %."""
    judged = [m for m in metrics if m.floor is not None]
    if not judged:
        return []
    lines = []
    counts = [min(len(m.a_runs), len(m.b_runs)) for m in judged]
    if not any(m.test for m in judged):
        if any(m.floor and m.floor.spread is None for m in judged):
            lines.append(_ASSUMED)
        if any(m.floor and m.floor.spread is not None for m in judged):
            lines.append(f"{min(counts)} run{'s' * (min(counts) > 1)} per side: no p-value; "
                         "measured floors are of stored A/A runs.")  # fmt: skip
    more = [f"{m.name} {m.more_runs}" for m in judged if m.more_runs is not None and not m.follows]
    if more:
        lines.append(f"more runs per side that would detect a change of 1 %: {', '.join(more)}")
    else:
        lines.append("How many more runs would detect 1 % is not known before 3 per side ran.")
    return lines


def _reason(metric: MetricResult) -> str:
    shown = metric.equivalence
    return metric.reason if shown is None else f"{metric.reason}; equivalence: {shown.told}"


def _value(metric: MetricResult, value: float | None) -> str:
    if value is None:
        return "-"
    if metric.key.endswith("_bytes"):
        return format_bytes(value)
    digits = 6 if "loss" in metric.key else 4
    return format_number(value, digits=digits)


def _show_time(uses: Sequence[TimeUse], console: Console) -> None:
    _heading(console, "Where the time went, over the steps that both have")
    beside = [use for use in uses if not use.is_within_steps]
    total = TimeUse(
        "total", sum(use.a_seconds for use in beside), sum(use.b_seconds for use in beside)
    )
    rows = [
        (
            use.what,
            _steps_told(use.a_seconds, use.a_num_steps),
            _steps_told(use.b_seconds, use.b_num_steps),
            _signed_seconds(use.b_seconds - use.a_seconds),
        )
        for use in [*beside, total, *(use for use in uses if use.is_within_steps)]
    ]
    console.print(make_table("", "A", "B", "B - A", rows=rows, right=(1, 2, 3)))


def _steps_told(seconds: float, num_steps: int | None) -> str:
    told = format_seconds(seconds)
    return told if num_steps is None else f"{told} ({num_steps:,})"


def _signed_seconds(seconds: float) -> str:
    return ("+" if seconds > 0 else "") + format_seconds(seconds)


def _show_losses(losses: LossComparison, explanation: str, console: Console) -> None:
    assert losses.window is not None
    paired = f"{losses.num_paired:,} paired steps ({losses.window[0]}-{losses.window[1]})"
    if losses.identical:
        _heading(console, f"Losses: {identical_told(losses.quantum)} at all {paired}")
        return
    parted = losses.parting
    assert parted is not None and losses.cause is not None
    _heading(console, f"Losses: part at step {parted.step} of {paired}")
    ulps = "" if parted.ulps is None else f", {format_number(parted.ulps, digits=2)} float32 ulp"
    first = ", ".join(
        f"{key} {'never' if step is None else step}" for key, step in losses.first_apart.items()
    )
    facts = [
        ("  there", f"A {parted.a!r}, B {parted.b!r}{ulps}"),
        ("  class of cause", losses.cause.value),
        ("  first step apart", first),
        ("  why", explanation),
    ]
    if losses.quanta_apart is not None:
        low, high = losses.quanta_apart
        facts.append(("  apart by", f"{low}-{high} print quanta of {losses.quantum:g}"))
    if losses.share_higher is not None:
        facts.append(("  sign", f"B is higher at {100 * losses.share_higher:.0f} % of them"))
    console.print(make_facts(facts))


def _show_config(c: Comparison, console: Console) -> None:
    if c.a.config is None or c.b.config is None:
        _heading(console, "Config: cannot be compared, a side has no config.txt")
        return
    if not c.changes:
        _heading(console, f"Config: the same, {len(c.a.config)} leaves")
        return
    _heading(console, f"Config: {len(c.changes)} of {len(c.a.config)} leaves changed")
    rows = [
        (
            change.leaf_class.value,
            change.path,
            shorten(change.before or "-", width=_MAX_VALUE_WIDTH),
            shorten(change.after or "-", width=_MAX_VALUE_WIDTH),
        )
        for change in c.changes[:_MAX_SHOWN]
    ]
    console.print(make_table("class", "path", "A", "B", rows=rows))
    _show_rest(console, len(c.changes))
    told = [(f"  {change.path}", told) for change in c.changes if (told := writers_told(change))]
    if told:
        console.print(Text("  set by:", style="dim"))
        console.print(make_facts(told[:_MAX_SHOWN]), style="dim")


def _show_parameters(parameters: ParameterComparison, console: Console) -> None:
    p = parameters
    if not p.told:
        return
    _heading(console, f"Parameters: {p.told}")
    rows = [(change.what, change.path, change.a, change.b) for change in p.changes[:_MAX_SHOWN]]
    if rows:
        console.print(make_table("", "path", "A", "B", rows=rows))
    _show_rest(console, len(p.changes))


def _show_rest(console: Console, count: int) -> None:
    if count > _MAX_SHOWN:
        console.print(Text(f"... and {count - _MAX_SHOWN} more: --json has all", style="dim"))
