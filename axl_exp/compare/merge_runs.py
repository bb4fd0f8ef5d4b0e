"""Run directories or metrics files of one run as that run: restarts, hosts, a log beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from axl_exp.compare.align import pair, parting
from axl_exp.compare.config_changes import config_changes
from axl_exp.compare.figures import TRAIN_LOSS
from axl_exp.compare.load import NotARunError, Run
from axl_exp.config.leaf_class import LeafClass
from axl_exp.run.metrics_reader import Metrics
from axl_exp.run.series import Labels, Series

# Facts of a run that a restart does not change.
_SAME = ("config", "seed", "tokens_per_step")


def merge_runs(runs: Sequence[Run]) -> Run:
    """Return pieces of one run as that run; what was merged stands in its notes.

    A piece that begins in the middle of another, or right behind it, is its restart: the steps that
    were trained again are void. Of pieces that begin at the same step with the same losses, as
    those of hosts do, the longest counts; of restarts with other losses, the last.

    Raises:
        NotARunError: Two pieces begin the run and their losses differ, or one has no step.
    """
    for run in runs:
        if not run.metrics.numbers:
            raise NotARunError(f"{run.run_dir.path} holds no step, so it is no piece of a run.")
    pieces: list[Run] = []
    notes = [note for run in runs for note in run.notes]
    for run in sorted(runs, key=lambda run: (_begin(run), _started(run), _process(run))):
        if not pieces or _begin(pieces[-1]) < _begin(run):
            pieces.append(run)
            continue
        before = pieces.pop()
        names = before.run_dir.path.name, run.run_dir.path.name
        at = f"{names[0]} and {names[1]} both begin at step {_begin(run)}"
        if _same_losses(before, run):
            pieces.append(run if _end(run) > _end(before) else before)
            kept = pieces[-1].run_dir.path.name
            notes.append(f"{at} with the same losses, as hosts do: {kept} counts")
        elif pieces:
            pieces.append(run)
            notes.append(f"{at} with other losses: the later counts, {names[1]}")
        else:
            raise NotARunError(
                f"{at} and have other losses, so they are no pieces of one run: write repeats with "
                "a comma, RUN,RUN."
            )
    last = pieces[-1]
    metrics = _joined([run.metrics for run in pieces])
    if len(pieces) > 1:
        told = ", ".join(f"{run.run_dir.path.name} ({_steps_told(run)})" for run in pieces)
        notes.append(f"merged {len(pieces)} pieces of one run, one after the other: {told}")
    launches = [launch for run in pieces for launch in run.env.get("launches") or []]
    return replace(
        last,
        run_dir=pieces[0].run_dir,
        env={**last.env, "launches": launches} if launches else last.env,
        metrics=metrics,
        quanta={key: quantum for run in pieces for key, quantum in run.quanta.items()},
        notes=tuple(dict.fromkeys(notes)),
    )


def add_metrics_file(log: Run, metrics: Run) -> Run:
    """Return a log with the columns of the metrics file that was written beside it.

    Where both tell a metric, the file's counts: it is not rounded.
    """
    told = metrics.metrics.numbers
    numbers = {**log.metrics.numbers, **told}
    note = (
        f"merged {log.run_dir.path.name} with the metrics file {metrics.run_dir.path.name}, whose "
        f"{len(told)} metrics count where both tell one"
    )
    return replace(
        log,
        metrics=replace(log.metrics, numbers={key: numbers[key] for key in sorted(numbers)}),
        quanta={key: quantum for key, quantum in log.quanta.items() if key not in told},
        notes=(*log.notes, *metrics.notes, note),
    )


def goes_on(a: Run, b: Run) -> bool:
    """Return whether `b` goes on where `a` was: it begins in the middle, later, as the same run."""
    if not a.metrics.numbers or not b.metrics.numbers:
        return False
    first, last, begin = _begin(a), _end(a), _begin(b)
    facts = [[run.env.get(fact) for fact in _SAME] for run in (a, b)]
    changes = config_changes(a.config, b.config)
    return (
        first < begin <= last + 1
        and facts[0] == facts[1]
        and _started(a) <= _started(b)
        and all(change.leaf_class is LeafClass.IO for change in changes)
    )


def _begin(run: Run) -> int:
    return min(int(series.steps[0]) for series in run.metrics.numbers.values())


def _end(run: Run) -> int:
    return max(int(series.steps[-1]) for series in run.metrics.numbers.values())


def _process(run: Run) -> int:
    host = run.env.get("host")
    index = host.get("process_index") if isinstance(host, dict) else None
    return index if isinstance(index, int) else 0


def _started(run: Run) -> float:
    told = run.env.get("started_unix_seconds")
    return float(told) if isinstance(told, (int, float)) else 0.0


def _steps_told(run: Run) -> str:
    return f"steps {_begin(run)}-{_end(run)}"


def _same_losses(a: Run, b: Run) -> bool:
    paired = pair(*(run.metrics.numbers.get(TRAIN_LOSS) for run in (a, b)))
    return len(paired) > 0 and parting(paired) is None


def _joined(pieces: Sequence[Metrics]) -> Metrics:
    """Return the columns of pieces, earliest first: of each what stands before the next begins."""
    begins = [min(int(s.steps[0]) for s in each.numbers.values()) for each in pieces]
    ends = [*begins[1:], np.iinfo(np.int64).max]
    joined = Metrics(pieces[0].path, header=pieces[0].header)
    numbers: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    labels: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for piece, end in zip(pieces, ends, strict=True):
        joined.problems += piece.problems
        joined.num_records += piece.num_records
        joined.num_repeated += piece.num_repeated
        joined.num_void += piece.num_void + _num_steps_from(piece, end)
        joined.events += [event for event in piece.events if event.get("step", 0) < end]
        for columns, found in ((numbers, piece.numbers), (labels, piece.labels)):
            for key, column in found.items():
                is_kept = column.steps < end
                columns.setdefault(key, []).append((column.steps[is_kept], column.values[is_kept]))
    for key in sorted(numbers):
        joined.numbers[key] = Series(*map(np.concatenate, zip(*numbers[key], strict=True)))
    for key in sorted(labels):
        joined.labels[key] = Labels.of(*map(np.concatenate, zip(*labels[key], strict=True)))
    return joined


def _num_steps_from(metrics: Metrics, step: int) -> int:
    """Return how many steps of the training loss are at `step` or behind it."""
    losses = metrics.numbers.get(TRAIN_LOSS)
    return 0 if losses is None else int(np.count_nonzero(losses.steps >= step))
