"""A comparison as Markdown for a pull request: verdict and changed metrics, the rest folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.config_changes import writers_told
from axl_exp.compare.page.rows import LOOKS, value_told
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.report.markdown import code, escape, fitted, folded
from axl_exp.report.text import format_seconds, shorten

_MAX_ROWS = 40
_MAX_WIDTH = 100
_ORDER = (State.WORSE, State.BETTER, State.NOT_COMPARABLE, State.WITHIN_NOISE)


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons, each with its verdict and metrics; less than a comment may hold."""
    heads, parts = [], []
    for c in comparisons:
        icon, _ = LOOKS[c.verdict.state]
        heads += [
            f"### {icon} {escape(c.verdict.headline)}",
            "",
            f"{code(c.side_b.name)} against {code(c.side_a.name)}",
            "",
            *_table(("metric", "A", "B", "change", "verdict"), map(_metric_row, _by_state(c))),
            "",
        ]
        told = f" of {escape(c.side_b.name)}" if len(comparisons) > 1 else ""
        parts += [folded(f"{name}{told}", lines) for name, lines in _sections(c) if lines]
    return fitted("\n".join([*heads, ""]), parts, rest="The rest is in the whole report.")


def comparison_details(c: Comparison) -> list[str]:
    """Return why each verdict, what changed in the config, and what explains the losses."""
    lines = []
    for m in c.metrics:
        lines.append(f"- {escape(m.name)}{_change(m)}: **{m.state}**, {escape(m.reason)}")
    for change in c.changes[:_MAX_ROWS]:
        values = f"{_value(change.before)} → {_value(change.after)}"
        who = f"; {escape(told)}" if (told := writers_told(change)) else ""
        lines.append(f"- config {code(change.path)} ({change.leaf_class}): {values}{who}")
    lines += _rest(len(c.changes))
    lines += [f"- {escape(e.metric)}: {escape(e.told)}" for e in c.explanations]
    if c.explanation:
        lines.append(f"- losses: {escape(c.explanation)}")
    return lines


def _sections(c: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Yield what folds: a name, and lines; none where there is nothing to tell."""
    yield "Why, config and explanations", comparison_details(c)
    rows = [(str(d.kind), escape(d.what), _value(d.a), _value(d.b)) for d in c.differences]
    yield (
        f"Validity: {len(rows)} differences",
        [
            *_table(("means", "what", "A", "B"), rows[:_MAX_ROWS]),
            *_rest(len(rows)),
        ]
        if rows
        else [],
    )
    seconds = [(escape(u.what), *map(format_seconds, (u.a_seconds, u.b_seconds))) for u in c.time]
    yield "Where the time went", _table(("what", "A", "B"), seconds) if seconds else []
    rows = [(p.what, code(p.path), _value(p.a), _value(p.b)) for p in c.parameters.changes]
    yield (
        f"Parameters: {escape(c.parameters.told)}",
        [
            *_table(("", "path", "A", "B"), rows[:_MAX_ROWS]),
            *_rest(len(rows)),
        ]
        if rows
        else [],
    )
    failed = [f"- {k.side}: {escape(k.what)}, {escape(k.told)}" for k in c.checks if not k.holds]
    yield f"{len(failed)} physical checks fail", failed
    yield "Notes", [f"- {escape(note)}" for note in c.notes]


def _by_state(c: Comparison) -> list[MetricResult]:
    return sorted(c.metrics, key=lambda m: _ORDER.index(m.state))


def _metric_row(m: MetricResult) -> tuple[str, ...]:
    icon, _ = LOOKS[m.state]
    values = value_told(m, m.a), value_told(m, m.b)
    return escape(m.name), *values, _change(m).strip() or "–", f"{icon} {m.state}"


def _change(m: MetricResult) -> str:
    return "" if m.relative is None else f" {100 * m.relative:+.2f} %"


def _value(text: str | None) -> str:
    return code(shorten(text, width=_MAX_WIDTH)) if text else "–"


def _rest(count: int) -> list[str]:
    return [f"- … and {count - _MAX_ROWS} more"] if count > _MAX_ROWS else []


def _table(headers: Sequence[str], rows) -> list[str]:
    line = "|---" * len(headers) + "|"
    return [f"| {' | '.join(headers)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]
