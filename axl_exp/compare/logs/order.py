"""Which records count: one host of several, the last of what was trained twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from axl_exp.compare.logs.log import Rows
from axl_exp.compare.logs.mend import rank_of
from axl_exp.run.metrics_reader import Series


@dataclass(frozen=True)
class Ordered:
    """Rows of a log that count, by ascending step.

    Attributes:
        rows: Indices into the log's rows; each step once, its last record.
        every: As `rows`, with all records of a step: one may tell what another does not.
        follows: For each, whether it was printed right after the one before it, by the same
            writer: False at the start, after a hole that a restart made, and where pieces meet.
        notes: What was chosen and left out, in words.
        source: Who printed them.
    """

    rows: np.ndarray
    every: np.ndarray
    follows: np.ndarray
    notes: list[str] = field(default_factory=list)
    source: str = ""


def order(rows: Rows) -> Ordered:
    """Return the rows that count: of one host, with restarts folded."""
    chosen, source, notes = one_host(rows)
    steps = rows.steps[chosen]
    back = np.flatnonzero(steps[1:] < steps[:-1]) + 1
    is_kept = _not_void(steps, back)
    num_void = int(np.count_nonzero(~is_kept))
    if len(back):
        at = ", ".join(str(steps[i]) for i in back[:3]) + (", ..." if len(back) > 3 else "")
        notes.append(
            f"the step goes back {len(back)} times (to {at}): restarts; {num_void} records that "
            "were trained again are void"
        )
    kept = np.flatnonzero(is_kept)
    is_last = np.append(steps[kept][1:] != steps[kept][:-1], True)[: len(kept)]
    every, kept = kept, kept[is_last]
    segment, writer = np.searchsorted(back, kept, side="right"), rows.sources[chosen][kept]
    is_same = (segment[1:] == segment[:-1]) & (writer[1:] == writer[:-1])
    follows = np.append(False, is_same)[: len(kept)]
    return Ordered(chosen[kept], chosen[every], follows, notes, source)


def _not_void(steps: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return a mask of the records that no later one goes back to or behind."""
    if not len(back):
        return np.ones(len(steps), dtype=bool)
    lowest_later = np.minimum.accumulate(steps[back][::-1])[::-1]
    piece = np.searchsorted(back, np.arange(len(steps)), side="right")
    limits = np.append(lowest_later, np.iinfo(np.int64).max)
    return steps < limits[piece]


def one_host(rows: Rows) -> tuple[np.ndarray, str, list[str]]:
    """Return the rows of one host, its name, and what is to be said of the others.

    Writers whose records are interleaved are hosts of one run; writers one after the other are
    restarts of one.
    """
    every = np.arange(len(rows))
    names = rows.source_names
    if len(names) <= 1 or rows.are_pieces:
        return every, names[0] if names else "", []
    spans = [np.flatnonzero(rows.sources == k)[[0, -1]] for k in range(len(names))]
    ordered = sorted(spans, key=lambda span: span[0])
    pairs = zip(ordered, ordered[1:], strict=False)
    # A thread's number, which MaxText prints, is bare; a launcher's label is not.
    are_labels = all(rank_of(name.encode()) >= 0 and not name.isdigit() for name in names)
    are_hosts = are_labels or any(b[0] < a[1] for a, b in pairs)
    if not are_hosts:
        return every, names[0], [f"{len(names)} processes wrote one after the other: restarts"]
    first = min(range(len(names)), key=lambda k: (rank_of(names[k].encode()), k))
    mine = every[rows.sources == first]
    note = f"{len(names)} hosts or ranks in one file; the records of {names[first]} count"
    apart = _first_apart(rows, mine, every[rows.sources != first])
    note += "; the others print the same losses" if apart is None else f"; losses differ: {apart}"
    return mine, names[first], [note]


def _first_apart(rows: Rows, mine: np.ndarray, others: np.ndarray) -> str | None:
    """Return the first step at which another host prints another loss, in words."""
    loss = column(rows, "train/loss")
    at_step = dict(zip(rows.steps[mine].tolist(), loss[mine].tolist(), strict=True))
    for row in others.tolist():
        step, theirs = int(rows.steps[row]), float(loss[row])
        ours = at_step.get(step, theirs)
        if ours != theirs and not (np.isnan(ours) or np.isnan(theirs)):
            return f"step {step}: {ours:g} and {theirs:g} of {rows.source_names[rows.sources[row]]}"
    return None


def column(rows: Rows, key: str) -> np.ndarray:
    """Return a metric of every row; NaN where the row lacks it."""
    pieces = rows.cells.get(key, [])
    if len(pieces) == 1 and isinstance(pieces[0][0], range) and len(pieces[0][0]) == len(rows):
        return pieces[0][1]
    values = np.full(len(rows), np.nan)
    for where, piece in pieces:
        values[_index(where)] = piece
    return values


def present(rows: Rows, key: str) -> np.ndarray:
    """Return a mask of the rows that have a metric, be it NaN."""
    has = np.zeros(len(rows), dtype=bool)
    for where, _ in rows.cells.get(key, []):
        has[_index(where)] = True
    return has


def _index(where: np.ndarray | range) -> np.ndarray | slice:
    return slice(where.start, where.stop) if isinstance(where, range) else where


def series(rows: Rows, ordered: Ordered) -> dict[str, Series]:
    """Return every metric of the rows that count; a step that lacks it is not in its series.

    Where two records of one step tell it, the later one counts; how many is added to the notes.
    """
    found, num_repeated = {}, 0
    every_step = rows.steps[ordered.every]
    is_plain = len(ordered.every) == len(rows) and bool((every_step[1:] > every_step[:-1]).all())
    for key in rows.cells:
        has = present(rows, key)[ordered.every]
        values = column(rows, key)
        if is_plain and has.all():  # One memory for all: logs have millions of steps.
            found[key] = Series(every_step, values)
            rows.cells[key] = [(range(len(rows)), values)]
            continue
        chosen = ordered.every[has]
        steps = rows.steps[chosen]
        is_last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
        num_repeated += int(np.count_nonzero(~is_last))
        if len(chosen):
            found[key] = Series(steps[is_last], values[chosen[is_last]])
    if num_repeated:
        ordered.notes.append(
            f"{num_repeated} values stand twice for one step; the later one counts"
        )
    return found
