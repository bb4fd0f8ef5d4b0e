"""The verdict on one metric, in four states, and on the whole comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from axl_exp.compare.floors import Floor
from axl_exp.compare.repeats import Equivalence, RunTest
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
        a: A's value, the mean over its runs; None where it has none.
        b: B's value.
        interval: 95 % interval of `relative`: by the runs where they were repeated, else by the
            noise inside one run of each side.
        state: The verdict.
        reason: Why that verdict.
        window: The steps that the values are of.
        formula: How a value is made of the records.
        figure: What noise floors call it.
        a_runs: A's value, run by run.
        b_runs: B's.
        floor: The noise floor that stands beside it; None where nothing was judged.
        test: The test over repeated runs; None with fewer than three per side.
        p_adjusted: `test.p` after Holm's correction over all tests of the command.
        equivalence: Whether "no change" was shown, where a margin was declared.
        more_runs: How many more runs per side would find a change of 1 % with a power of 90 %; None
            where no spread is known.
        follows: The figure that this one says in other words, whose verdict is its; else empty.
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
    figure: str = ""
    a_runs: tuple[float, ...] = ()
    b_runs: tuple[float, ...] = ()
    floor: Floor | None = None
    test: RunTest | None = None
    p_adjusted: float | None = None
    equivalence: Equivalence | None = None
    more_runs: int | None = None
    follows: str = ""

    @property
    def delta(self) -> float | None:
        """B - A."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative(self) -> float | None:
        """(B - A) / |A|: 0.02 is 2 % more; None where that is no number."""
        delta = self.delta
        if delta is None or not self.a or not math.isfinite(delta):
            return None
        return delta / abs(self.a)

    @property
    def is_undecided(self) -> bool:
        """Whether more runs or steps would tell: it was judged beside a floor, and nothing more."""
        return self.state is State.NOT_COMPARABLE and self.floor is not None


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


def overall(results: Sequence[MetricResult], *, confounders: Sequence[str], losses: str) -> Verdict:
    """Return the verdict over all metrics: one that is worse makes it a regression.

    Where nothing can be compared, that is the verdict. What cannot be compared is always named.
    Where a margin was declared, "no change" must be shown of every metric that is not better: else
    the data are not enough.

    Args:
        results: All metrics.
        confounders: What differs between the environments and may explain a change.
        losses: How far the training losses go together, in words; empty where nothing is known.
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
    shown = [r for r in results if r.equivalence and r.equivalence.accepted]
    unshown = [r for r in results if r.equivalence and not r.equivalence.accepted]
    unshown = [r for r in unshown if r.state in (State.WITHIN_NOISE, State.NOT_COMPARABLE)]
    for told, group in (("equivalent", shown), ("not shown to be equivalent", unshown)):
        if group and group[0].equivalence:
            margin = 100 * group[0].equivalence.margin
            names = ", ".join(result.name for result in group)
            sentences.append(f"{told} within {margin:g} %: {names}")
    if losses:
        sentences.append(losses)
    undecided = [r for r in missing if r.is_undecided]
    if undecided:
        sentences.append(f"not told by so few runs or steps: {_names(undecided)}")
    if never := [r.name for r in missing if not r.is_undecided]:
        sentences.append(f"not comparable: {', '.join(never)}")
    if confounders:
        sentences.append(f"confounded by {first_of(confounders)}")
    state = State.WORSE if worse else State.BETTER if better else State.WITHIN_NOISE
    code = EXIT_NOT_COMPARABLE if unshown else EXIT_NO_REGRESSION
    code = EXIT_REGRESSION if worse else code
    return Verdict(state, "; ".join(sentences), code)


def worst_exit_code(verdicts: Sequence[Verdict]) -> int:
    """Return the exit code over several comparisons: a regression, else what cannot be told."""
    codes = [verdict.exit_code for verdict in verdicts]
    return EXIT_REGRESSION if EXIT_REGRESSION in codes else max(codes)


def first_of(names: Sequence[str], *, limit: int = 3) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _names(results: Sequence[MetricResult]) -> str:
    return ", ".join(
        result.name if result.relative is None else f"{result.name} {100 * result.relative:+.2f} %"
        for result in results
    )
