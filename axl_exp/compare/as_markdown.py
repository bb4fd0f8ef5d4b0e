"""A comparison as Markdown for a pull request: verdict and changed metrics, the rest folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from axl_exp.compare import words
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.config_changes import writers_told
from axl_exp.compare.environment import by_kind, counts_told, grouped
from axl_exp.compare.load import named_runs
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.report.markdown import code, escape, fitted, folded
from axl_exp.report.text import shorten

_MAX_ROWS = 40
_MAX_WIDTH = 100
_ORDER = (State.WORSE, State.BETTER, State.NOT_COMPARABLE, State.WITHIN_NOISE)


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons, each with its verdict and metrics; less than a comment may hold."""
    heads, parts = [], []
    for c in comparisons:
        icon, _ = words.LOOKS[c.verdict.state]
        heads += [
            f"### {icon} {escape(c.verdict.headline)}",
            "",
            f"{code(c.side_b.name)} against {code(c.side_a.name)}",
            "",
            *_runs(c),
            "",
            *_table(
                ("metric", "A", "B", "change", "verdict"),
                [*map(_metric_row, words.metric_rows(_by_state(c)))],
            ),
            "",
        ]
        told = f" of {escape(c.side_b.name)}" if len(comparisons) > 1 else ""
        parts += [folded(f"{name}{told}", lines) for name, lines in _sections(c) if lines]
    return fitted("\n".join([*heads, ""]), parts, rest="The rest is in the whole report.")


def _runs(c: Comparison) -> list[str]:
    """Return a line per run: who it is."""
    runs = [*named_runs("A", c.runs_a), *named_runs("B", c.runs_b)]
    lines = [", ".join(f"{fact} {told}" for fact, told in words.run_facts(run)) for _, run in runs]
    return [f"- {name}: {escape(line)}" for (name, _), line in zip(runs, lines, strict=True)]


def comparison_details(c: Comparison) -> list[str]:
    """Return why each verdict, what changed in the config, and what explains the losses."""
    lines = []
    for m in words.metric_rows(c.metrics):
        change = "" if m.change == words.NONE else f" {m.change}"
        why = escape(f"{m.reason}; {m.window}; {m.formula}")
        lines.append(f"- {escape(m.name)}{change}: **{m.state}**, {why}")
    for change in c.changes[:_MAX_ROWS]:
        values = f"{_value(change.before)} → {_value(change.after)}"
        who = f"; {escape(told)}" if (told := writers_told(change)) else ""
        lines.append(f"- config {code(change.path)} ({change.leaf_class}): {values}{who}")
    lines += _rest(len(c.changes))
    lines += [f"- {escape(e.metric)}: {escape(e.told)}" for e in c.explanations]
    if c.explanation:
        lines.append(f"- losses: {escape(c.explanation)}")
    lines += [f"- {escape(line)}" for line in words.noise_told(c.metrics)]
    return lines


def _sections(c: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Yield what folds: a name, and lines; none where there is nothing to tell."""
    yield "Why, config and explanations", comparison_details(c)
    kinds = [
        (label, ", ".join(code(d.what) for d in found)) for label, found in by_kind(c.differences)
    ]
    told = [f"- {label} {names}" for label, names in kinds]
    notes = [f"- {escape(note)}" for note in c.notes]
    yield f"Validity: {counts_told(c.differences)}", [*told, *notes]
    yield (
        f"Losses: {words.losses_told(c)}",
        [f"- {name}: {escape(told)}" for name, told in words.loss_facts(c)],
    )
    rows = [words.time_row(use) for use in words.time_with_total(c.time)]
    cells = [(escape(row.what), row.a, row.b, row.delta) for row in rows]
    yield "Where the time went", _table(("what", "A", "B", "B - A"), cells)
    rows = [
        (group, d.kind, code(d.what), _value(d.a), _value(d.b))
        for group, found in grouped(c.differences)
        for d in found
    ]
    yield "Environment: what differs", _table(("of", "means", "what", "A", "B"), rows)
    rows = [(p.what, code(p.path), _value(p.a), _value(p.b)) for p in c.parameters.changes]
    yield f"Parameters: {escape(c.parameters.told)}", _table(("", "path", "A", "B"), rows)
    failed = [f"- {k.side}: {escape(k.what)}, {escape(k.told)}" for k in c.checks if not k.holds]
    yield f"Physical checks: {len(failed)} fail", failed
    if c.theirs is not None:
        lines = [f"- {escape(line)}" for line in words.theirs_lines(c.theirs)]
        yield "What MaxView's average hides", lines


def _by_state(c: Comparison) -> list[MetricResult]:
    return sorted(c.metrics, key=lambda m: _ORDER.index(m.state))


def _metric_row(m: words.MetricRow) -> tuple[str, ...]:
    return escape(m.name), m.a, m.b, m.change, f"{m.icon} {m.state}"


def _value(text: str | None) -> str:
    return code(shorten(text, width=_MAX_WIDTH)) if text else "–"


def _rest(count: int) -> list[str]:
    return ["", f"… and {count - _MAX_ROWS} more"] if count > _MAX_ROWS else []


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of the first rows, and how many more there are; nothing of no rows."""
    if not rows:
        return []
    line = "|---" * len(headers) + "|"
    told = [f"| {' | '.join(row)} |" for row in rows[:_MAX_ROWS]]
    return [f"| {' | '.join(headers)} |", line, *told, *_rest(len(rows))]
