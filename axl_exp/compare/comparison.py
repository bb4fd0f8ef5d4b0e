"""The comparison of two sides, whole: what the terminal, the JSON and the report tell."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from axl_exp.compare.checks import Check, physical_checks
from axl_exp.compare.config_changes import ConfigChange, config_changes
from axl_exp.compare.environment import Difference, Kind
from axl_exp.compare.explain import Explanation, explain_losses, explanations
from axl_exp.compare.floors import Floors
from axl_exp.compare.foreign_leaf_class import foreign_leaf_class
from axl_exp.compare.judge import correct
from axl_exp.compare.load import Run, named_runs
from axl_exp.compare.logs.log import Log
from axl_exp.compare.loss_results import loss_results
from axl_exp.compare.losses import LossComparison, compare_losses, identical_told
from axl_exp.compare.memory import memory_results
from axl_exp.compare.parameters import ParameterComparison, compare_parameters
from axl_exp.compare.sides import LoadedSide, Side
from axl_exp.compare.speed import speed_results
from axl_exp.compare.stored_floors import code_of, hardware_of
from axl_exp.compare.theirs import Theirs, theirs
from axl_exp.compare.time_use import TimeUse, time_use
from axl_exp.compare.validity import (
    differences,
    platform,
    ran_one_after_other,
    within_side,
)
from axl_exp.compare.verdict import MetricResult, State, Verdict, first_of, overall
from axl_exp.config.leaf_class import leaf_class
from axl_exp.run.metrics import RESTART


@dataclass(frozen=True)
class Comparison:
    """What is known of B against A.

    Where a side has repeats, `metrics` are of all its runs; what is told step by step (time,
    losses, config, checks) is of the first run of each side, `a` and `b`.

    Attributes:
        a, b: The first run of each side, with all its columns.
        runs_a, runs_b: All runs of each side.
        margin: The relative change that was declared to be none; None where none was.
        floors: The noise floors that were stored for this config and hardware.
        parameters: The parameters of `a` and `b`, matched under renaming.
        checks: Physical checks of both sides.
        theirs: What MaxView shows of two MaxText logs; None for anything else.
        explanations: What can explain each metric that became better or worse.
        notes: What a reader must know of the files and of how the runs were chosen.
        losses_explained: What can explain that the losses differ; None where they do not.
    """

    side_a: Side
    side_b: Side
    a: Run
    b: Run
    runs_a: list[Run]
    runs_b: list[Run]
    verdict: Verdict
    differences: list[Difference]
    metrics: list[MetricResult]
    time: list[TimeUse]
    losses: LossComparison
    changes: list[ConfigChange]
    losses_explained: Explanation | None
    explanations: list[Explanation]
    parameters: ParameterComparison
    checks: list[Check]
    theirs: Theirs | None
    notes: list[str]
    floors: Floors
    margin: float | None = None

    @property
    def explanation(self) -> str:
        """What can explain a difference of the losses, in words; says so where nothing can."""
        return self.losses_explained.told if self.losses_explained else ""


def compare(
    sides: Sequence[LoadedSide], *, floors: Floors | None = None, margin: float | None = None
) -> list[Comparison]:
    """Compare every further side against the first; all tests together are corrected by Holm.

    Args:
        sides: Two or more.
        floors: What is stored for the config and hardware of the first side; None for nothing.
        margin: The relative change that is declared to be none.
    """
    first, *others = sides
    pairs = [(first, other) for other in others]
    return compare_pairs(pairs, floors=[floors or Floors()] * len(pairs), margin=margin)


def compare_pairs(
    pairs: Sequence[tuple[LoadedSide, LoadedSide]],
    *,
    floors: Sequence[Floors],
    margin: float | None = None,
) -> list[Comparison]:
    """Compare the second of each pair against the first; all tests are corrected together by Holm.

    Args:
        pairs: Those of a suite's cases, say.
        floors: What is stored for each pair.
        margin: The relative change that is declared to be none.
    """
    found = [
        _compare(a, b, floors=stored, margin=margin)
        for (a, b), stored in zip(pairs, floors, strict=True)
    ]
    corrected = correct([comparison.metrics for comparison in found])
    return [_decided(c, metrics) for c, metrics in zip(found, corrected, strict=True)]


def _compare(
    side_a: LoadedSide, side_b: LoadedSide, *, floors: Floors, margin: float | None
) -> Comparison:
    a, b = side_a.runs[0], side_b.runs[0]
    is_foreign = a.log is not None or b.log is not None
    classify = foreign_leaf_class if is_foreign else leaf_class
    changes = config_changes(a.config, b.config, classify=classify, writers=(a.writers, b.writers))
    # Two logs of one page are there to compare their commits.
    parts = [side.side.sources[0].part for side in (side_a, side_b)]
    by_ref = side_a.side.by_ref or side_b.side.by_ref or all(parts)
    found = differences(a, b, changes=changes, by_ref=by_ref)
    for name, side in (("A", side_a), ("B", side_b)):
        found = [*within_side(name, side.runs), *found]
    losses = compare_losses(a, b)
    runs = side_a.runs, side_b.runs
    metrics = [
        result
        for results in (loss_results, speed_results, memory_results)
        for result in results(*runs, floors=floors, margin=margin)
    ]
    if by_ref and _is_same_code(a, b):  # Commits are the question, and they are the same.
        metrics = [_as_noise(metric) for metric in metrics]
    return Comparison(
        side_a=side_a.side,
        side_b=side_b.side,
        a=a,
        b=b,
        runs_a=side_a.runs,
        runs_b=side_b.runs,
        verdict=overall(metrics, confounders=[], losses=""),
        differences=found,
        metrics=metrics,
        time=time_use(a, b),
        losses=losses,
        changes=changes,
        losses_explained=explain_losses(a, b, losses, changes, found),
        explanations=[],
        parameters=compare_parameters(a, b),
        checks=[*physical_checks("A", a), *physical_checks("B", b)],
        theirs=theirs(a, b),
        notes=_notes_of(side_a, side_b),
        floors=floors,
        margin=margin,
    )


def _decided(c: Comparison, metrics: list[MetricResult]) -> Comparison:
    """Return the comparison with the corrected metrics and what follows from them."""
    confounders = [d.what for d in c.differences if d.kind is Kind.CONFOUNDER]
    return replace(
        c,
        metrics=metrics,
        verdict=overall(metrics, confounders=confounders, losses=_losses_told(c)),
        explanations=explanations(
            c.a, c.b, metrics=metrics, changes=c.changes, differences=c.differences
        ),
    )


def _losses_told(c: Comparison) -> str:
    """Return whether the losses are the same, or where they part and by what; empty without any."""
    if c.losses.identical:
        return f"losses are {identical_told(c.losses.quantum).rstrip(',')}"
    if c.losses.parting is None or c.losses_explained is None:
        return ""
    causes = c.losses_explained.leaves or c.losses_explained.facts
    told = f"can be explained by {first_of(causes)}" if causes else "unexplained"
    return f"losses part at step {c.losses.parting.step:,} ({told})"


def _notes_of(side_a: LoadedSide, side_b: LoadedSide) -> list[str]:
    """Return what a reader must know of both sides, what concerns both first."""
    notes = [note for note in (side_a.side.note, side_b.side.note) if note]
    sources = [
        {
            (os.path.realpath(path), source.part)
            for source in s.side.sources
            for path in source.paths
        }
        for s in (side_a, side_b)
    ]
    runs = side_a.runs, side_b.runs
    if sources[0] & sources[1]:
        notes.insert(0, "A and B are the same run directory: this compares a run with itself")
    elif _is_same_code(side_a.runs[0], side_b.runs[0]):
        notes.insert(0, "A and B ran the same code and config on the same hardware: any difference "
                     "is noise")  # fmt: skip
    if ran_one_after_other(*runs):
        told = "all runs of one side began before those of the other: a drift of the machine is in "
        told += "the difference; launch them in turns, A B A B"
        is_floored = platform(side_a.runs[0]) == "cpu"
        notes.append(told + (" (so on this CPU a change must exceed the floor too)" * is_floored))
    for name, side in (("A", side_a), ("B", side_b)):
        notes.extend(side.notes)
        for run_name, run in named_runs(name, side.runs):
            notes.extend(_notes(run_name, run))
    return notes


def _is_same_code(a: Run, b: Run) -> bool:
    for run in (a, b):
        git = run.env.get("git")
        if isinstance(git, dict) and git.get("dirty") and not git.get("diff_sha256"):
            return False  # What was not committed is not known.
    codes = [code_of(run) for run in (a, b)]
    seeds = [run.env.get("seed") for run in (a, b)]
    same_hardware = hardware_of(a) == hardware_of(b)
    return codes[0] is not None and codes[0] == codes[1] and same_hardware and seeds[0] == seeds[1]


def _as_noise(metric: MetricResult) -> MetricResult:
    """Return the result of runs of the same code: whatever they are apart by is noise."""
    finite = metric.delta is not None and math.isfinite(metric.delta)
    is_told = metric.state in (State.BETTER, State.WORSE)
    if not finite or not (is_told or metric.is_undecided):
        return metric
    told = f"noise, for the code is the same, though larger than was taken for it: {metric.reason}"
    return replace(metric, state=State.WITHIN_NOISE, reason=told)


def _notes(name: str, run: Run) -> list[str]:
    """Return what was missing, damaged or repaired in the files of one run."""
    metrics, files = run.metrics, run.run_dir
    if run.log is not None:
        return _log_notes(name, run, run.log)
    notes = [f"{name}: {note}" for note in run.notes]
    notes += [
        f"{name} has no {path.name}" for path in (files.config, files.metrics) if not path.exists()
    ]
    if run.status != "finished":
        notes.append(f"{name} is {run.status}")
    if metrics.problems:
        first = metrics.problems[0]
        notes.append(
            f"{name}: {len(metrics.problems)} lines of {files.metrics.name} could not be read; "
            f"the first is line {first.line}: {first.reason}"
        )
    restarts = [str(event["step"]) for event in metrics.events if event["event"] == RESTART]
    if restarts:
        times = f"{len(restarts)} times, " if len(restarts) > 1 else ""
        notes.append(f"{name} was resumed {times}behind step {first_of(restarts)}")
    if metrics.num_void:
        notes.append(f"{name}: {metrics.num_void} records were trained again after a restart")
    if metrics.num_repeated:
        notes.append(
            f"{name}: {metrics.num_repeated} values stand twice for one step; the later one counts"
        )
    return notes


def _log_notes(name: str, run: Run, log: Log) -> list[str]:
    """Return what was read of a log, what was mended, and what was not understood."""
    notes = [f"{name} is a log of {log.format}: {len(log.rows):,} step records"]
    notes.extend(f"{name}: {note}" for note in run.notes)
    if log.failure:
        notes.append(f"{name} failed at {log.failure}")
    if not len(log.rows):
        notes.append(f"{name} holds no step: it ended before the first one was printed")
    notes.extend(f"{name}: {note}" for note in (*log.notes, *log.column_notes))
    if log.repairs:
        notes.append(f"{name} was mended: {'; '.join(log.repairs)}")
    if log.num_not_understood:
        line, text = log.not_understood[0]
        notes.append(
            f"{name}: {log.num_not_understood:,} places look like metrics and were not understood; "
            f"the first is line {line}: {text}"
        )
    return notes
