"""What a suite found: one comparison per case, all of them corrected together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from axl_exp.compare.comparison import Comparison, compare_pairs
from axl_exp.compare.sides import LoadedSide, Side, Source, load_side
from axl_exp.compare.stored_floors import stored_floors
from axl_exp.compare.verdict import (
    EXIT_NO_REGRESSION,
    EXIT_NOT_COMPARABLE,
    EXIT_REGRESSION,
    State,
)
from axl_exp.run.store import RunStore
from axl_exp.suite.definition import Case
from axl_exp.suite.same_losses import SameLosses, same_losses
from axl_exp.suite.session import Session
from axl_exp.suite.trial import Ended, Trial


@dataclass(frozen=True)
class CaseResult:
    """What one case shows.

    Attributes:
        comparison: None where a side has no run that ended well.
        failures: Trial -> why it has nothing to compare.
        crashed: Whether it ran on the base and fails on the head: a regression by itself.
        same_losses: Side -> whether it has the losses of the case that it names there.
    """

    case: Case
    comparison: Comparison | None
    failures: dict[Trial, str]
    crashed: bool
    same_losses: dict[str, SameLosses] = field(default_factory=dict)

    @property
    def lost_losses(self) -> bool:
        """Whether the head lost the losses that the case is to have: a regression too."""
        holds = {side: same.holds for side, same in self.same_losses.items()}
        return holds.get("B") is False and holds.get("A") is not False

    @property
    def state(self) -> State:
        """The verdict of the case."""
        if self.crashed or self.lost_losses:
            return State.WORSE
        return self.comparison.verdict.state if self.comparison else State.NOT_COMPARABLE

    @property
    def headline(self) -> str:
        """The verdict in words."""
        if self.comparison is not None and not self.crashed:
            told = [f"the head {self.same_losses['B'].told}"] if self.lost_losses else []
            told.append(self.comparison.verdict.headline)
            if not self.lost_losses:
                told += self.same_losses_told
            lost = len(self.failures)
            return "; ".join(told) + (f" ({lost} trial{'s' * (lost > 1)} failed)" if lost else "")
        first = next(iter(self.failures.items()), None)
        why = f"{first[0].name}: {first[1]}" if first else "it has not run"
        return f"fails on the head, not on the base: {why}" if self.crashed else why

    @property
    def same_losses_told(self) -> list[str]:
        """What `same_losses` says, in words: once where both sides say the same."""
        told = {side: same.told for side, same in self.same_losses.items()}
        if self.case.losses_of and not told:
            return [f"not held against {self.case.losses_of}, which did not end on both sides"]
        if len(told) == 2 and told["A"] == told["B"]:
            return [f"each side {told['A']}"]
        return [f"{side} {words}" for side, words in told.items()]


@dataclass(frozen=True)
class SuiteResult:
    """What the suite shows, case by case in its order."""

    session: Session
    cases: list[CaseResult]

    @property
    def exit_code(self) -> int:
        """That of `compare`: 1 where any case is worse, 3 where none could be compared."""
        if any(case.state is State.WORSE for case in self.cases):
            return EXIT_REGRESSION
        codes = [c.comparison.verdict.exit_code for c in self.cases if c.comparison]
        if not codes or len(codes) < len(self.cases):
            return EXIT_NOT_COMPARABLE
        return max(codes, default=EXIT_NO_REGRESSION)

    @property
    def headline(self) -> str:
        """How many cases are better, worse, within noise, not comparable."""
        counts = {state: sum(case.state is state for case in self.cases) for state in State}
        told = [f"{counts[s]} {s}" for s in (State.WORSE, State.BETTER) if counts[s]]
        told += [
            f"{counts[s]} {s}" for s in (State.WITHIN_NOISE, State.NOT_COMPARABLE) if counts[s]
        ]
        return f"{len(self.cases)} cases: {', '.join(told)}"


def suite_result(session: Session, found: Mapping[Trial, Ended], *, store: RunStore) -> SuiteResult:
    """Return the comparison of every case from the trials that have ended."""
    pairs: dict[str, tuple[LoadedSide, LoadedSide]] = {}
    results: dict[str, CaseResult] = {}
    for case in session.suite.cases:
        trials = {t: end for t, end in found.items() if t.case == case}
        failures = {t: end.failure for t, end in trials.items() if end.failure}
        well = {
            side: [t for t, end in trials.items() if t.side == side and not end.failure]
            for side in ("A", "B")
        }
        if well["A"] and well["B"]:
            sides = (_side(session, "A", well["A"]), _side(session, "B", well["B"]))
            pairs[case.name] = sides
        failed = {trial.side for trial in failures}
        crashed = bool(well["A"]) and not well["B"] and failed == {"B"}
        results[case.name] = CaseResult(case, None, failures, crashed)
    compared = compare_pairs(
        list(pairs.values()), floors=[stored_floors(a.runs[0], store) for a, _ in pairs.values()]
    )
    for name, comparison in zip(pairs, compared, strict=True):
        same = _same_losses(results[name].case, pairs)
        told = replace(results[name], comparison=comparison, same_losses=same)
        notes = [*told.same_losses_told, *comparison.notes]  # On the page of the case too.
        results[name] = replace(told, comparison=replace(comparison, notes=notes))
    return SuiteResult(session, list(results.values()))


def _same_losses(
    case: Case, pairs: Mapping[str, tuple[LoadedSide, LoadedSide]]
) -> dict[str, SameLosses]:
    """Return, for each side, whether `case` has the losses of the case that it names."""
    if case.losses_of not in pairs:
        return {}
    both = zip("AB", pairs[case.name], pairs[case.losses_of], strict=True)
    return {side: same_losses(case, own.runs, other.runs) for side, own, other in both}


def _side(session: Session, side: str, trials: list[Trial]) -> LoadedSide:
    ref = session.base if side == "A" else session.head
    sources = tuple(Source((trial.run_dir.path,)) for trial in trials)
    return load_side(Side(f"{ref.name} ({ref.commit[:8]})", sources, by_ref=True))
