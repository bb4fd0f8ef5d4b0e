"""Which records count: one host of several, the last of what was trained twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from axl_exp.compare.logs.log import Rows
from axl_exp.compare.logs.mend import rank_of
from axl_exp.run.packed import Packed
from axl_exp.run.series import Series


@dataclass(frozen=True)
class Ordered:
    """Rows of a log that count, by ascending step.

    Attributes:
        rows: Indices into the log's rows; each step once, its last record. `slice(None)` where all
            rows count: logs have millions.
        every: As `rows`, with all records of a step: one may tell what another does not.
        follows: For each, whether it was printed right after the one before it, by the same
            writer: False at the start, after a hole that a restart made, and where pieces meet.
        notes: What was chosen and left out, in words.
        source: Who printed them.
    """

    rows: np.ndarray | slice
    every: np.ndarray | slice
    follows: np.ndarray
    notes: list[str] = field(default_factory=list)
    source: str = ""

    def __len__(self) -> int:
        return len(self.follows)


def order(rows: Rows) -> Ordered:
    """Return the rows that count: of one host, with restarts folded."""
    chosen, source, notes = one_host(rows)
    steps = rows.steps[chosen]
    if isinstance(chosen, slice) and (steps[1:] > steps[:-1]).all():
        writers = rows.sources
        follows = np.append(False, writers[1:] == writers[:-1])[: len(steps)]
        return Ordered(chosen, chosen, follows, notes, source)
    if isinstance(chosen, slice):
        chosen = np.arange(len(rows))
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
    limits = np.append(lowest_later, np.iinfo(np.int64).max)
    lengths = np.diff(back, prepend=0, append=len(steps))
    return steps < np.repeat(limits, lengths)


def one_host(rows: Rows) -> tuple[np.ndarray | slice, str, list[str]]:
    """Return the rows of one host, its name, and what is to be said of the others.

    Writers whose records are interleaved are hosts of one run; writers one after the other are
    restarts of one.
    """
    every = slice(None)
    names = rows.source_names
    if len(names) <= 1 or rows.are_pieces:
        return every, names[0] if names else "", []
    sources = rows.sources
    _, first_rows = np.unique(sources, return_index=True)
    _, from_end = np.unique(sources[::-1], return_index=True)
    spans = np.stack([first_rows, len(sources) - 1 - from_end], axis=1)
    ordered = spans[np.argsort(first_rows)]
    # A thread's number, which MaxText prints, is bare; a launcher's label is not.
    are_labels = all(rank_of(name.encode()) >= 0 and not name.isdigit() for name in names)
    are_hosts = are_labels or bool((ordered[1:, 0] < ordered[:-1, 1]).any())
    if not are_hosts:
        return every, names[0], [f"{len(names)} processes wrote one after the other: restarts"]
    first = min(range(len(names)), key=lambda k: (rank_of(names[k].encode()), k))
    mine, others = np.flatnonzero(sources == first), np.flatnonzero(sources != first)
    note = f"{len(names)} hosts or ranks in one file; the records of {names[first]} count"
    apart = _first_apart(rows, mine, others)
    note += "; the others print the same losses" if apart is None else f"; losses differ: {apart}"
    return mine, names[first], [note]


def _first_apart(rows: Rows, mine: np.ndarray, others: np.ndarray) -> str | None:
    """Return the first record of another host with another loss than ours at its step, in words.

    Of several records of ours at one step the last one counts.
    """
    loss, steps = column(rows, "train/loss"), rows.steps
    by_step = mine[np.argsort(steps[mine], kind="stable")]
    index = np.searchsorted(steps[by_step], steps[others], side="right") - 1
    ours = by_step[np.maximum(index, 0)]
    apart = (steps[ours] == steps[others]) & (loss[ours] != loss[others])
    apart &= ~(np.isnan(loss[ours]) | np.isnan(loss[others]))
    if not apart.any():
        return None
    at = int(np.argmax(apart))
    row = others[at]
    name = rows.source_names[rows.sources[row]]
    return f"step {steps[row]}: {loss[ours[at]]:g} and {loss[row]:g} of {name}"


def column(rows: Rows, key: str) -> np.ndarray:
    """Return a metric of every row; NaN where the row lacks it."""
    cells = rows.cells.get(key)
    if cells is not None and len(cells.values) == len(rows):
        return cells.values.unpack()
    values = np.full(len(rows), np.nan)
    if cells is not None:
        values[cells.rows.unpack()] = cells.values.unpack()
    return values


def series(rows: Rows, ordered: Ordered) -> dict[str, Series]:
    """Return every metric of the rows that count; a step that lacks it is not in its series.

    Where two records of one step tell it, the later one counts; how many is added to the notes.
    """
    found, num_repeated = {}, 0
    for key, cells in rows.cells.items():
        if isinstance(ordered.every, slice) and len(cells.values) == len(rows):
            found[key] = Series(rows.packed_steps, cells.values)
            continue
        counts = np.zeros(len(rows), dtype=bool)
        counts[ordered.every] = True
        where = cells.rows.unpack()
        told = counts[where]
        steps = rows.steps[where[told]]
        is_last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
        num_repeated += int(np.count_nonzero(~is_last))
        if len(steps):
            values = cells.values.unpack()[told]
            found[key] = Series(Packed(steps[is_last]), Packed(values[is_last]))
    if num_repeated:
        ordered.notes.append(
            f"{num_repeated} values stand twice for one step; the later one counts"
        )
    return found
