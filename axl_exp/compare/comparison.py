"""The comparison of two runs, whole: what the terminal and the JSON both tell."""

from __future__ import annotations

import os
from dataclasses import dataclass

from axl_exp.compare.checks import Check, physical_checks
from axl_exp.compare.config_changes import ConfigChange, config_changes
from axl_exp.compare.load import Run, load_run
from axl_exp.compare.logs.log import Log
from axl_exp.compare.losses import LossComparison, compare_losses, identical_told, loss_results
from axl_exp.compare.memory import memory_results
from axl_exp.compare.sides import Side
from axl_exp.compare.speed import speed_results
from axl_exp.compare.theirs import Theirs, theirs
from axl_exp.compare.time_use import TimeUse, time_use
from axl_exp.compare.validity import Difference, Kind, differences
from axl_exp.compare.verdict import MetricResult, Verdict, overall
from axl_exp.config.leaf_class import LeafClass


@dataclass(frozen=True)
class Comparison:
    """What is known of B against A.

    Attributes:
        checks: Physical checks of both sides.
        theirs: What MaxView shows of two MaxText logs; None for anything else.
        notes: What a reader must know of the files and of how the runs were chosen.
        explanation: What can explain a difference of the losses; says so where nothing can.
    """

    side_a: Side
    side_b: Side
    a: Run
    b: Run
    verdict: Verdict
    differences: list[Difference]
    metrics: list[MetricResult]
    time: list[TimeUse]
    losses: LossComparison
    changes: list[ConfigChange]
    explanation: str
    checks: list[Check]
    theirs: Theirs | None
    notes: list[str]


def compare(side_a: Side, side_b: Side) -> Comparison:
    """Load both sides and compare B against A.

    Raises:
        UserError: A side is no run, or one of its files cannot be read.
    """
    a, b = (load_run(side.run_dir, part=side.part) for side in (side_a, side_b))
    changes = config_changes(a.config, b.config)
    # Two logs of one page are there to compare their commits.
    by_ref = side_a.by_ref or side_b.by_ref or bool(side_a.part and side_b.part)
    found = differences(a, b, changes=changes, by_ref=by_ref)
    losses = compare_losses(a, b)
    metrics = [*loss_results(a, b), *speed_results(a, b), *memory_results(a, b)]
    return Comparison(
        side_a=side_a,
        side_b=side_b,
        a=a,
        b=b,
        verdict=overall(
            metrics,
            confounders=[d.what for d in found if d.kind is Kind.CONFOUNDER],
            identical_losses=identical_told(losses.quantum).rstrip(",") if losses.identical else "",
        ),
        differences=found,
        metrics=metrics,
        time=time_use(a, b),
        losses=losses,
        changes=changes,
        explanation=_explanation(a, b, losses, changes, found),
        checks=[*physical_checks("A", a), *physical_checks("B", b)],
        theirs=theirs(a, b),
        notes=[*_side_notes(side_a, side_b), *_notes("A", a), *_notes("B", b)],
    )


def _explanation(
    a: Run,
    b: Run,
    losses: LossComparison,
    changes: list[ConfigChange],
    found: list[Difference],
) -> str:
    """Return what can explain that the losses differ; empty where they do not."""
    if losses.parting is None:
        return ""
    leaves = [change.path for change in changes if change.leaf_class is not LeafClass.IO]
    facts = [d.what for d in found if d.kind is not Kind.HARMLESS and d.what != "config"]
    if leaves or facts:
        return f"can be explained by {', '.join([*leaves, *facts])}"
    if a.config is None or b.config is None:
        return "unexplained: a side has no config.txt, so the configs cannot be compared"
    return "unexplained: no config leaf that can change a loss and no environment fact differs"


def _side_notes(side_a: Side, side_b: Side) -> list[str]:
    notes = [note for note in (side_a.note, side_b.note) if note]
    paths = [os.path.realpath(side.run_dir.path) for side in (side_a, side_b)]
    if paths[0] == paths[1] and side_a.part == side_b.part:
        notes.insert(0, "A and B are the same run directory: this compares a run with itself")
    return notes


def _notes(name: str, run: Run) -> list[str]:
    """Return what was missing, damaged or repaired in the files of one run."""
    metrics, files = run.metrics, run.run_dir
    if run.log is not None:
        return _log_notes(name, run, run.log)
    notes = [
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
    if log.failure:
        notes.append(f"{name} failed at {log.failure}")
    if not len(log.rows):
        notes.append(f"{name} holds no step: it ended before the first one was printed")
    notes.extend(f"{name}: {note}" for note in log.notes)
    if log.repairs:
        notes.append(f"{name} was mended: {'; '.join(log.repairs)}")
    if log.num_not_understood:
        line, text = log.not_understood[0]
        notes.append(
            f"{name}: {log.num_not_understood:,} places look like metrics and were not understood; "
            f"the first is line {line}: {text}"
        )
    return notes
