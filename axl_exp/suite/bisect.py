"""Which commit moved a metric: a binary search over commits, each run as one case of a suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Protocol

from axl_exp.errors import UserError

# A commit's runs are repeated until its mean is this many standard errors from the middle between
# good and bad, so that a side is chosen wrongly about once in a thousand times (one-sided normal).
_SURE = 3.0


class BisectError(UserError):
    """A question that no bisection can answer: the ends do not differ, or do not run."""


class Measure(Protocol):
    """Returns one more figure of a commit; None where it cannot run."""

    def __call__(self, commit: str, /) -> float | None: ...


@dataclass
class Measured:
    """What is known of one commit."""

    commit: str
    figures: list[float] = field(default_factory=list)
    failed: bool = False

    @property
    def mean(self) -> float:
        """Of its figures."""
        return fmean(self.figures)


@dataclass(frozen=True)
class Found:
    """The answer.

    Attributes:
        commit: The first commit that has the bad figure.
        before: The last one that has the good figure.
        skipped: Commits between the two that did not run: any of them may have done it instead.
        spread: Standard deviation of one run, over the commits that were repeated; None where none.
        num_runs: How many runs it took.
        least_sure: The smallest distance from the middle, in standard errors, of any decision;
            None where no spread is known.
    """

    commit: Measured
    before: Measured
    skipped: list[str]
    spread: float | None
    num_runs: int
    least_sure: float | None


def bisect(
    commits: Sequence[str],
    measure: Measure,
    *,
    repeats: int,
    most_repeats: int,
    say: Callable[[str], None],
) -> Found:
    """Return the first of `commits` whose figure is that of the last one, not of the first.

    Args:
        commits: Oldest first; the first is good and the last is bad.
        measure: Runs a commit once.
        repeats: Runs of each commit at least.
        most_repeats: Runs of a commit at most, where the first ones do not settle its side.
        say: Takes a line of progress.

    Raises:
        BisectError: The ends do not run, or do not differ beyond what their runs scatter.
    """
    if len(commits) < 2:
        raise BisectError("there is no commit between good and bad: name two that differ.")
    search = _Search(measure, repeats=repeats, most_repeats=most_repeats, say=say)
    good, bad = (search.end(commits[k], name) for k, name in ((0, "good"), (-1, "bad")))
    search.settle_ends(good, bad)
    low, high = 0, len(commits) - 1
    skipped: set[int] = set()
    while candidates := [k for k in range(low + 1, high) if k not in skipped]:
        middle = candidates[len(candidates) // 2]
        measured = search.of(commits[middle])
        if measured.failed:
            skipped.add(middle)
            say(f"{commits[middle][:10]} does not run: skipped")
        elif search.is_bad(measured):
            high = middle
        else:
            low = middle
    return Found(
        commit=search.of(commits[high]),
        before=search.of(commits[low]),
        skipped=[commits[k] for k in range(low + 1, high)],
        spread=search.spread(),
        num_runs=search.num_runs,
        least_sure=search.least_sure,
    )


class _Search:
    def __init__(
        self, measure: Measure, *, repeats: int, most_repeats: int, say: Callable[[str], None]
    ):
        self._measure, self._repeats, self._most = measure, repeats, max(repeats, most_repeats)
        self._say = say
        self._known: dict[str, Measured] = {}
        self._good, self._bad = 0.0, 0.0
        self.num_runs = 0
        self.least_sure: float | None = None

    def of(self, commit: str) -> Measured:
        """Return what is known of a commit, measured if nothing is."""
        if commit not in self._known:
            self._known[commit] = Measured(commit)
            self._add(self._known[commit], self._repeats)
        return self._known[commit]

    def end(self, commit: str, name: str) -> Measured:
        measured = self.of(commit)
        if measured.failed:
            raise BisectError(f"the {name} commit {commit[:10]} does not run: nothing to bisect.")
        return measured

    def settle_ends(self, good: Measured, bad: Measured) -> None:
        """Check that the ends differ, and take the middle between them as what decides."""
        while True:
            apart, spread = abs(good.mean - bad.mean), self.spread()
            error = (spread or 0.0) * math.sqrt(1 / len(good.figures) + 1 / len(bad.figures))
            if apart > _SURE * error and apart > 0:
                break
            if min(len(good.figures), len(bad.figures)) >= self._most:
                scatter = f", while one run scatters by {spread:.4g}" if spread else ""
                raise BisectError(
                    f"good and bad do not differ: {good.mean:.6g} and {bad.mean:.6g} over "
                    f"{len(good.figures)} runs each{scatter}."
                )
            for each in (good, bad):
                self._add(each, 1)
        self._good, self._bad = good.mean, bad.mean

    def is_bad(self, measured: Measured) -> bool:
        """Return whether a commit is nearer to bad, repeating it while that is not sure."""
        middle = (self._good + self._bad) / 2
        while True:
            distance, spread = abs(measured.mean - middle), self.spread()
            sure = None
            if spread:
                sure = distance / (spread / math.sqrt(len(measured.figures)))
            if sure is None or sure >= _SURE or len(measured.figures) >= self._most:
                break
            before = len(measured.figures)
            self._add(measured, 1)
            if len(measured.figures) == before:
                break
        if sure is not None:
            self.least_sure = sure if self.least_sure is None else min(sure, self.least_sure)
        towards_bad = (measured.mean - middle) * (self._bad - self._good)
        return towards_bad > 0

    def spread(self) -> float | None:
        """Return the standard deviation of one run, pooled; None where nothing was repeated."""
        groups = [m.figures for m in self._known.values() if len(m.figures) > 1]
        degrees = sum(len(figures) - 1 for figures in groups)
        if not degrees:
            return None
        squares = sum(stdev(figures) ** 2 * (len(figures) - 1) for figures in groups)
        return math.sqrt(squares / degrees)

    def _add(self, measured: Measured, count: int) -> None:
        for _ in range(count):
            figure = self._measure(measured.commit)
            self.num_runs += 1
            if figure is None or not math.isfinite(figure):
                measured.failed = not measured.figures
                return
            measured.figures.append(figure)
            self._say(f"{measured.commit[:10]} run {len(measured.figures)}: {figure:.6g}")
