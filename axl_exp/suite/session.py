"""A suite on two commits: the plan of its trials, run in turns, restartable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from axl_exp.errors import UserError
from axl_exp.report.text import format_seconds
from axl_exp.run.checkout import Checkout, Ref
from axl_exp.run.files import read_json, write_json
from axl_exp.suite.definition import Case, Suite
from axl_exp.suite.trial import Ended, Trial, ended, run_trial

_SCHEMA = "axl_exp.suite/1"


class SessionError(UserError):
    """A folder of results that is of something else."""


@dataclass(frozen=True)
class Session:
    """A suite, two commits, so many repeats, and the folder of their results."""

    suite: Suite
    base: Ref
    head: Ref
    repeats: int
    folder: Path
    extra_flags: tuple[str, ...] = ()

    def trials(self) -> list[Trial]:
        """Return every trial in the order of the runs: A B A B, case by case, repeat by repeat.

        Neighbours in time are what is compared, so a machine that drifts drifts for both sides.
        """
        return [
            Trial(case, side, repeat, self.folder / case.name / f"{side}{repeat}")
            for repeat in range(1, self.repeats + 1)
            for case in self.suite.cases
            for side in ("A", "B")
        ]


def default_folder(suite: Suite, base: Ref, head: Ref, *, extra_flags: Sequence[str]) -> Path:
    """Return where results go: the same place for the same question, so that it can go on."""
    name = f"suite-{suite.name}-{base.commit[:8]}-{head.commit[:8]}"
    if extra_flags:
        name += "-" + hashlib.sha256("\0".join(extra_flags).encode()).hexdigest()[:6]
    return Path("runs") / name


def open_session(session: Session) -> None:
    """Write down what the folder is of, or check that it is of the same.

    More repeats or cases than before only add to it.

    Raises:
        SessionError: The folder holds another suite, other commits, or other cases by these names.
    """
    path = session.folder / "suite.json"
    told = {
        "schema": _SCHEMA,
        "suite": session.suite.name,
        "base": session.base.commit,
        "head": session.head.commit,
        "flags": list(session.extra_flags),
    }
    cases = {case.name: _case_value(case) for case in session.suite.cases}
    if path.exists():
        before = read_json(path)
        kept = before.pop("cases", {})
        changed = [n for n, value in cases.items() if n in kept and kept[n] != value]
        if before != told or changed:
            refs = f"{str(before.get('base'))[:8]} against {str(before.get('head'))[:8]}"
            what = f"other settings of {', '.join(changed)}" if changed else f"{refs}, not of these"
            raise SessionError(
                f"{session.folder} holds results of {what}. Name another folder with --out."
            )
        cases = kept | cases
    session.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {**told, "cases": cases})


def run_session(
    session: Session,
    checkouts: Mapping[str, Checkout],
    *,
    timeout_seconds: float,
    say: Callable[[str], None],
) -> dict[Trial, Ended]:
    """Run every trial that has not ended yet, and return how each ended.

    Args:
        checkouts: Those of side A and of side B.
        timeout_seconds: Of one trial.
        say: Takes a line of progress.
    """
    trials = session.trials()
    found: dict[Trial, Ended] = {}
    for number, trial in enumerate(trials, start=1):
        head = f"[{number}/{len(trials)}] {trial.name}"
        known = ended(trial)
        if known is not None:
            found[trial] = known
            say(f"{head}: {_told(known)} (before)")
            continue
        say(f"{head} ...")
        found[trial] = run_trial(
            trial,
            checkout=checkouts[trial.side],
            extra_flags=list(session.extra_flags),
            timeout_seconds=timeout_seconds,
        )
        say(f"{head}: {_told(found[trial])}")
    return found


def _told(end: Ended) -> str:
    return f"FAILED: {end.failure}" if end.failure else f"done in {format_seconds(end.seconds)}"


def _case_value(case: Case) -> dict:
    """Return what the runs of a case depend on, as JSON has it."""
    return {
        "config": case.config,
        "overrides": list(case.overrides),
        "mesh": case.mesh,
        "interrupt_at_step": case.interrupt_at_step,
    }
