"""The rows of a page's tables: values in words, and a drawing of each effect beside its noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.config_changes import ConfigChange
from axl_exp.compare.time_use import TimeUse
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.report.text import format_bytes, format_number, format_seconds

# Icon, and class of page.css. Never colour alone.
LOOKS = {
    State.BETTER: ("▲", "better"),
    State.WORSE: ("▼", "worse"),
    State.WITHIN_NOISE: ("≈", "noise"),
    State.NOT_COMPARABLE: ("?", "unsure"),
}


@dataclass(frozen=True)
class Effect:
    """A relative change drawn beside its noise floor: places from 0 to 100, 50 is no change."""

    point: float
    low: float | None
    high: float | None
    floor: float | None
    told: str


@dataclass(frozen=True)
class MetricRow:
    """One metric in words."""

    name: str
    a: str
    b: str
    delta: str
    relative: str
    interval: str
    floor: str
    icon: str
    style: str
    state: str
    reason: str
    window: str
    formula: str
    effect: Effect | None


@dataclass(frozen=True)
class TimeRow:
    """Seconds of both sides, in words and as shares of the longest bar."""

    what: str
    a: str
    b: str
    delta: str
    a_percent: float
    b_percent: float
    is_within_steps: bool


def metric_rows(metrics: Sequence[MetricResult]) -> Iterator[MetricRow]:
    """Yield every metric as the table shows it."""
    for m in metrics:
        icon, style = LOOKS[m.state]
        floor = floor_of(m)
        yield MetricRow(
            name=m.name,
            a=value_told(m, m.a),
            b=value_told(m, m.b),
            delta="–" if m.delta is None else _signed(value_told(m, m.delta), m.delta),
            relative="–" if m.relative is None else _percent(m.relative),
            interval="–"
            if m.interval is None
            else f"{_percent(m.interval.low)} … {_percent(m.interval.high)}",
            floor="–" if floor is None else f"±{100 * floor:.3g} %",
            icon=icon,
            style=style,
            state=str(m.state),
            reason=_reason(m),
            window=m.window,
            formula=m.formula,
            effect=_effect(m, floor),
        )


def floor_of(m: MetricResult) -> float | None:
    """Return the noise floor that stands beside a metric, relative; None where none was used."""
    if m.floor is None or not m.a_runs or not m.b_runs:
        return None
    return m.floor.between(len(m.a_runs), len(m.b_runs))


def value_told(m: MetricResult, value: float | None) -> str:
    """Return a value of a metric in its unit."""
    if value is None:
        return "–"
    if m.key.endswith("_bytes"):
        return format_bytes(value)
    return format_number(value, digits=6 if "loss" in m.key else 4)


def time_rows(uses: Sequence[TimeUse]) -> list[TimeRow]:
    """Return the decomposition of time, its total behind what stands beside each other."""
    beside = [use for use in uses if not use.is_within_steps]
    total = TimeUse("total", sum(u.a_seconds for u in beside), sum(u.b_seconds for u in beside))
    longest = max((max(u.a_seconds, u.b_seconds) for u in beside), default=0.0) or 1.0
    rows = [*beside, total, *(use for use in uses if use.is_within_steps)]
    return [_time_row(use, longest) for use in rows]


def config_groups(changes: Sequence[ConfigChange]) -> list[tuple[str, list[ConfigChange]]]:
    """Return the changes by class of leaf, what can change every number first."""
    by_class = sorted(changes, key=lambda change: list(type(change.leaf_class)).index(
        change.leaf_class))  # fmt: skip
    return [(str(name), list(group)) for name, group in groupby(by_class, lambda c: c.leaf_class)]


def loss_facts(c: Comparison) -> list[tuple[str, str]]:
    """Return what is known of where and how the losses part; empty where they never do."""
    losses = c.losses
    if losses.parting is None or losses.cause is None:
        return []
    parted = losses.parting
    ulps = "" if parted.ulps is None else f", {format_number(parted.ulps, digits=2)} float32 ulp"
    facts = [
        ("first apart", f"step {parted.step:,}: A {parted.a!r}, B {parted.b!r}{ulps}"),
        ("class of cause", losses.cause.value),
        (
            "first step apart of each",
            ", ".join(f"{k} {'never' if s is None else s}" for k, s in losses.first_apart.items()),
        ),
    ]
    if losses.quanta_apart is not None:
        low, high = losses.quanta_apart
        facts.append(("apart by", f"{low} to {high} print quanta of {losses.quantum:g}"))
    if losses.share_higher is not None:
        facts.append(("sign", f"B is higher at {100 * losses.share_higher:.0f} % of the steps"))
    return facts


def _reason(m: MetricResult) -> str:
    return m.reason if m.equivalence is None else f"{m.reason}; equivalence: {m.equivalence.told}"


def _effect(m: MetricResult, floor: float | None) -> Effect | None:
    if m.relative is None:
        return None
    ends = [] if m.interval is None else [m.interval.low, m.interval.high]
    reach = 1.15 * max(abs(v) for v in (m.relative, floor or 0.0, *ends)) or 1.0
    place = lambda value: round(50 + 50 * value / reach, 2)  # noqa: E731
    told = f"{_percent(m.relative)}"
    told += f", 95 % interval {_percent(ends[0])} to {_percent(ends[1])}" if ends else ""
    told += f", noise floor ±{100 * floor:.3g} %" if floor is not None else ""
    return Effect(
        point=place(m.relative),
        low=place(ends[0]) if ends else None,
        high=place(ends[1]) if ends else None,
        floor=None if floor is None else round(50 * floor / reach, 2),
        told=told,
    )


def _time_row(use: TimeUse, longest: float) -> TimeRow:
    shown = not use.is_within_steps and use.what != "total"
    return TimeRow(
        what=use.what,
        a=_steps_told(use.a_seconds, use.a_num_steps),
        b=_steps_told(use.b_seconds, use.b_num_steps),
        delta=_signed(format_seconds(use.b_seconds - use.a_seconds), use.b_seconds - use.a_seconds),
        a_percent=round(100 * use.a_seconds / longest, 2) if shown else 0,
        b_percent=round(100 * use.b_seconds / longest, 2) if shown else 0,
        is_within_steps=use.is_within_steps,
    )


def _steps_told(seconds: float, num_steps: int | None) -> str:
    told = format_seconds(seconds)
    return told if num_steps is None else f"{told} in {num_steps:,}"


def _signed(text: str, value: float) -> str:
    return f"+{text}" if value > 0 else text


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %"
