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


def overall(
    results: Sequence[MetricResult], *, confounders: Sequence[str], identical_losses: str
) -> Verdict:
    """Return the verdict over all metrics: one that is worse makes it a regression.

    Where nothing can be compared, that is the verdict. What cannot be compared is always named.

    Args:
        results: All metrics.
        confounders: What differs between the environments and may explain a change.
        identical_losses: How far the training losses are known to be equal; else empty.
    """
    by_state = {state: [r for r in results if r.state is state] for state in State}
    worse, better, missing = (
        by_state[state] for state in (State.WORSE, State.BETTER, State.NOT_COMPARABLE)
    )
    if len(missing) == len(results):
        reasons = dict.fromkeys(result.reason for result in missing) or ["no metric on either side"]
        told = f"not comparable: {'; '.join(reasons)}"
        return Verdict(State.NOT_COMPARABLE, told, EXIT_NOT_COMPARABLE)
    sentences = []
    if worse:
        sentences.append(f"worse: {_names(worse)}")
    if better:
        sentences.append(f"better: {_names(better)}")
    if not sentences:
        sentences.append("no difference beyond noise")
    if identical_losses:
        sentences.append(f"losses are {identical_losses}")
    if missing:
        sentences.append(f"not comparable: {', '.join(result.name for result in missing)}")
    if confounders:
        sentences.append(f"confounded by {_first(confounders)}")
    state = State.WORSE if worse else State.BETTER if better else State.WITHIN_NOISE
    code = EXIT_REGRESSION if worse else EXIT_NO_REGRESSION
    return Verdict(state, "; ".join(sentences), code)


def _first(names: Sequence[str], *, limit: int = 3) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _names(results: Sequence[MetricResult]) -> str:
    return ", ".join(
        result.name if result.relative is None else f"{result.name} {100 * result.relative:+.2f} %"
        for result in results
    )
