"""What a page draws within its tables: each effect beside its noise, and seconds as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from axl_exp.compare.config_changes import ConfigChange
from axl_exp.compare.time_use import TimeUse
from axl_exp.compare.verdict import MetricResult
from axl_exp.compare.words import floor_of, floor_told, percent


@dataclass(frozen=True)
class Effect:
    """A relative change drawn beside its noise floor: places from 0 to 100, 50 is no change."""

    point: float
    low: float | None
    high: float | None
    floor: float | None
    told: str


def effect_of(m: MetricResult) -> Effect | None:
    """Return the drawing of a metric's change; None where it has none, or no noise beside it."""
    floor = floor_of(m)
    ends = [] if m.interval is None else [m.interval.low, m.interval.high]
    if m.relative is None or (floor is None and not ends):
        return None
    reach = 1.15 * max(abs(v) for v in (m.relative, floor or 0.0, *ends)) or 1.0
    place = lambda value: round(50 + 50 * value / reach, 2)  # noqa: E731
    told = percent(m.relative)
    told += f", 95 % interval {percent(ends[0])} to {percent(ends[1])}" if ends else ""
    told += f", noise floor {floor_told(floor)}" if floor is not None else ""
    return Effect(
        point=place(m.relative),
        low=place(ends[0]) if ends else None,
        high=place(ends[1]) if ends else None,
        floor=None if floor is None else round(50 * floor / reach, 2),
        told=told,
    )


def time_bars(uses: Sequence[TimeUse]) -> list[tuple[float, float]]:
    """Return the seconds of A and of B as percent of the longest; 0 of totals and waits."""
    beside = [use for use in uses if not use.is_within_steps and use.what != "total"]
    longest = max((max(u.a_seconds, u.b_seconds) for u in beside), default=0.0) or 1.0
    share = lambda seconds: round(100 * seconds / longest, 2)  # noqa: E731
    return [
        (share(use.a_seconds), share(use.b_seconds)) if use in beside else (0.0, 0.0)
        for use in uses
    ]


def config_groups(changes: Sequence[ConfigChange]) -> list[tuple[str, list[ConfigChange]]]:
    """Return the changes by class of leaf, what can change every number first."""
    by_class = sorted(changes, key=lambda change: list(type(change.leaf_class)).index(
        change.leaf_class))  # fmt: skip
    return [(str(name), list(group)) for name, group in groupby(by_class, lambda c: c.leaf_class)]
