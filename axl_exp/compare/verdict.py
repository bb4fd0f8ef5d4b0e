"""The verdict on one metric, in four states, and on the whole comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from axl_exp.compare.statistics import Interval

EXIT_NO_REGRESSION = 0
EXIT_REGRESSION = 1
EXIT_NOT_COMPARABLE = 3  # 2 is a usage or parse error.


class State(StrEnum):
    """What can be said of one metric."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_NOISE = "within noise"
    NOT_COMPARABLE = "not comparable"


class Better(StrEnum):
    """The direction in which a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True)
class MetricResult:
    """One row of the metric table: both values, their difference, the verdict and its reason.

    Attributes:
        name: As people call it.
        key: Its key in metrics.jsonl.
        better: The direction of improvement.
        a: A's value; None where it has none.
        b: B's value.
        interval: 95 % interval of `relative`, where the runs' own noise gives one.
        state: The verdict.
        reason: Why that verdict.
        window: The steps that the values are of.
        formula: How a value is made of the records.
    """

    name: str
    key: str
    better: Better
    a: float | None
    b: float | None
    state: State
    reason: str
    window: str
    formula: str
    interval: Interval | None = None

    @property
    def delta(self) -> float | None:
        """B - A."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative(self) -> float | None:
        """B / A - 1: 0.02 is 2 % more."""
        return None if self.a is None or self.b is None or self.a == 0 else self.b / self.a - 1


@dataclass(frozen=True)
class Verdict:
    """What the whole comparison says. `exit_code` is that of the command."""

    state: State
    headline: str
    exit_code: int


def direction(result: MetricResult) -> State:
    """Return BETTER or WORSE, for a result whose values differ and whose difference is real."""
    assert result.delta, f"{result.name} has no difference"
    return State.BETTER if (result.delta < 0) == (result.better is Better.LOWER) else State.WORSE


def overall(results: Sequence[MetricResult]) -> Verdict:
    """Return the verdict over all metrics: one that is worse makes it a regression.

    Where nothing can be compared, that is the verdict. What cannot be compared is always named.
    """
    by_state = {state: [r for r in results if r.state is state] for state in State}
    worse, better, missing = (
        by_state[state] for state in (State.WORSE, State.BETTER, State.NOT_COMPARABLE)
    )
    if len(missing) == len(results):
        reasons = dict.fromkeys(result.reason for result in missing) or ["no metric on either side"]
        return Verdict(
            State.NOT_COMPARABLE, f"not comparable: {'; '.join(reasons)}", EXIT_NOT_COMPARABLE
        )
    if worse:
        state, code, told = State.WORSE, EXIT_REGRESSION, f"worse: {_names(worse)}"
        if better:
            told += f". Better: {_names(better)}"
    elif better:
        state, code, told = State.BETTER, EXIT_NO_REGRESSION, f"better: {_names(better)}"
    else:
        state, code, told = State.WITHIN_NOISE, EXIT_NO_REGRESSION, "no difference beyond noise"
    if missing:
        told += f". Not comparable: {', '.join(result.name for result in missing)}"
    return Verdict(state, told, code)


def _names(results: Sequence[MetricResult]) -> str:
    return ", ".join(
        result.name if result.relative is None else f"{result.name} {100 * result.relative:+.2f} %"
        for result in results
    )
