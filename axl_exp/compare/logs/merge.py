"""Several logs of one run as one: those of its hosts, and those of its restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from axl_exp.compare.logs.log import Cells, Log, LogError, Rows
from axl_exp.compare.logs.order import column, one_host
from axl_exp.run.packed import Packed
from axl_exp.run.series import find

_MAX_CLOCK_SECONDS = 60.0  # Two hosts print one step within a minute of each other.


def merge_logs(logs: Sequence[Log]) -> Log:
    """Return one log of all pieces of one run; what was merged stands in its notes.

    Hosts print the same steps; the one of the lowest process index counts, of the others memory and
    whether they print the same losses. Restarts follow one another: the steps that were trained
    again are void.

    Raises:
        LogError: The logs are of different trainers.
    """
    formats = dict.fromkeys(log.format for log in logs)
    if len(formats) > 1:
        raise LogError(f"logs of {' and '.join(formats)} are no pieces of one run.")
    ordered = sorted(logs, key=_process)
    first = ordered[0]
    mine = [log for log in ordered if log is first or not are_hosts(first, log)]
    hosts = [log for log in ordered if not any(log is other for other in mine)]
    mine.sort(key=_begin)
    notes = []
    if len(mine) > 1:
        told = ", ".join(f"{log.path.name} ({_steps_told(log)})" for log in mine)
        notes.append(f"merged {len(mine)} logs of one run, one after the other: {told}")
    if hosts:
        names = ", ".join(log.path.name for log in hosts)
        agree = all(_same_losses(first, log) is not False for log in hosts)
        told = "print the same losses" if agree else "print OTHER losses"
        notes.append(f"merged {len(hosts) + 1} hosts: {first.path.name} counts; {names} {told}")
    last = mine[-1]
    merged = replace(
        last,
        path=mine[0].path,
        rows=_joined([log.rows for log in mine]),
        evals=_joined([log.evals for log in mine]),
        facts={k: v for log in mine for k, v in log.facts.items() if v not in ({}, "", None)},
        results={k: v for log in mine for k, v in log.results.items()},
        arguments={k: v for log in mine for k, v in log.arguments.items()},
        parameters={k: v for log in mine for k, v in log.parameters.items()},
        activations={k: v for log in mine for k, v in log.activations.items()},
        memory=[m for log in (*mine, *hosts) for m in log.memory],
        waits=_shifted_waits(mine),
        repairs=[f"{log.path.name}: {r}" for log in (*mine, *hosts) for r in log.repairs],
        notes=[*notes, *dict.fromkeys(note for log in mine for note in log.notes)],
        num_not_understood=sum(log.num_not_understood for log in mine),
        not_understood=[told for log in mine for told in log.not_understood],
        trace=[event for log in mine for event in log.trace],
    )
    if hosts and "process_index" in first.facts:
        merged.facts["process_index"] = first.facts["process_index"]
    return merged


def are_hosts(a: Log, b: Log) -> bool:
    """Return whether two logs are of two hosts of one run: same steps, same losses, same time."""
    if a.format != b.format or not len(a.rows) or not len(b.rows):
        return False
    if a.rows.steps.max() < b.rows.steps.min() or b.rows.steps.max() < a.rows.steps.min():
        return False
    apart = _clock_apart(a, b)
    if apart is not None and apart > _MAX_CLOCK_SECONDS:
        return False
    indices = [log.facts.get("process_index") for log in (a, b)]
    if None not in indices:
        return indices[0] != indices[1]
    return apart is not None and _same_losses(a, b) is True


def is_restart(a: Log, b: Log) -> bool:
    """Return whether `b` goes on where `a` was: it begins in the middle, at a later step."""
    if a.format != b.format or not len(a.rows) or not len(b.rows) or are_hosts(a, b):
        return False
    first, last, begin = int(a.rows.steps[0]), int(a.rows.steps.max()), int(b.rows.steps[0])
    times = [log.rows.times[np.isfinite(log.rows.times)] for log in (a, b)]
    is_later = not (len(times[0]) and len(times[1])) or times[1][0] >= times[0][0]
    return is_later and first < begin <= last + max(1, last - first) and begin > 1


def _process(log: Log) -> int:
    index = log.facts.get("process_index")
    return index if isinstance(index, int) else 0


def _begin(log: Log) -> tuple[float, int]:
    times = log.rows.times[np.isfinite(log.rows.times)]
    step = int(log.rows.steps[0]) if len(log.rows) else 0
    return (float(times[0]) if len(times) else 0.0, step)


def _steps_told(log: Log) -> str:
    if not len(log.rows):
        return "no step"
    return f"steps {log.rows.steps.min()}-{log.rows.steps.max()}"


def _shared(a: Log, b: Log) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each at the steps that both print; the first of each step."""
    _, i, j = np.intersect1d(a.rows.steps, b.rows.steps, return_indices=True)
    return i, j


def _clock_apart(a: Log, b: Log) -> float | None:
    """Return the median seconds between the two at shared steps; None where clocks do not tell."""
    i, j = _shared(a, b)
    apart = np.abs(a.rows.times[i] - b.rows.times[j])
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else None


def _same_losses(a: Log, b: Log) -> bool | None:
    i, j = _shared(a, b)
    of_a, of_b = column(a.rows, "train/loss")[i], column(b.rows, "train/loss")[j]
    known = np.isfinite(of_a) & np.isfinite(of_b)
    return bool((of_a[known] == of_b[known]).all()) if known.any() else None


def _joined(pieces: Sequence[Rows]) -> Rows:
    """Return the rows of one host of each piece, one after the other, each a writer of its own."""
    steps, lines, sources = (Packed(dtype=np.int64) for _ in range(3))
    times = Packed()
    cells: dict[str, Cells] = {}
    quanta: dict[str, float] = {}
    for k, (rows, shift) in enumerate(zip(pieces, _line_shifts(pieces), strict=True)):
        mine = one_host(rows)[0]
        begin, chosen = len(steps), np.arange(len(rows))[mine]
        steps.extend(rows.steps[mine])
        lines.extend(rows.lines[mine] + shift)
        times.extend(rows.times[mine])
        sources.extend(np.full(len(chosen), k))
        for key, found in rows.cells.items():
            where, has = find(chosen, found.rows.unpack())
            cell = cells.setdefault(key, Cells())
            cell.rows.extend(begin + where)
            cell.values.extend(found.values.unpack()[has])
        for key, quantum in rows.quanta.items():
            quanta[key] = max(quanta.get(key, 0.0), quantum)
    return Rows(
        packed_steps=steps,
        packed_lines=lines,
        packed_times=times,
        packed_sources=sources,
        source_names=[f"piece {k}" for k in range(1, len(pieces) + 1)],
        cells=cells,
        quanta=quanta,
        are_pieces=True,
    )


def _line_shifts(pieces: Sequence[Rows]) -> list[int]:
    """Return by how much the lines of each piece are moved, so that lines ascend over all."""
    ends = [int(rows.lines.max()) + 1 if len(rows) else 0 for rows in pieces]
    return [sum(ends[:k]) for k in range(len(pieces))]


def _shifted_waits(mine: Sequence[Log]):
    shifts = _line_shifts([log.rows for log in mine])
    return [
        replace(wait, line=wait.line + shift)
        for log, shift in zip(mine, shifts, strict=True)
        for wait in log.waits
    ]
