"""How long each step took and what else happened in it, as far as a log can tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.order import Ordered, column

COMPILE, STEADY, CHECKPOINT, EVAL = "compile", "steady", "checkpoint", "eval"
STALL, CATCH_UP, RESTART, PROFILE = "stall", "catch-up", "restart", "profile"
CLASSES = (STEADY, COMPILE, CHECKPOINT, EVAL, STALL, CATCH_UP, RESTART, PROFILE)

# Against the median of the steps in which nothing happened. Chosen, not measured: a step of three
# times the usual length is no noise of a device, half the usual length no step of one.
_STALL_RATIO = 3.0
_CATCH_UP_RATIO = 0.5
_WARM_UP_RATIO = 1.5
_WARM_UP_STEPS = 3
_LATE_PAIR = (0.7, 1.3)  # Mean of a late line and the quick one behind it, against the median.


@dataclass(frozen=True)
class Waits:
    """Seconds of one kind of wait: in which of the rows, each once, and how many."""

    rows: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class StepTimes:
    """Seconds and class of every row that counts, in the order of `Ordered.rows`.

    Attributes:
        seconds: NaN where nothing tells.
        classes: For each the index into CLASSES.
        waits: Kind of wait -> where there was one.
        told: Where the seconds come from.
    """

    seconds: np.ndarray
    classes: np.ndarray
    waits: dict[str, Waits]
    told: str


def step_times(log: Log, ordered: Ordered) -> StepTimes:
    """Return times and classes, from timestamps where the log has them, else from its own seconds.

    Between two step lines the device did one step, but where the host stood still; so timestamps
    give the device's time in steady state, and printed host times do not.
    """
    seconds = _between_lines(log, ordered)
    is_known = np.isfinite(seconds)
    has_times = bool(is_known[1:].any())
    printed = column(log.rows, "printed/seconds")[ordered.rows]
    is_host_time = log.format == "MaxText"
    if has_times and (is_host_time or not np.isfinite(printed).any()):
        seconds[~is_known] = printed[~is_known]
        told = "differences of consecutive timestamps"
    else:
        seconds = printed
        told = "as printed: the host's time between dispatches" if is_host_time else "as printed"
    del printed
    waits = _waits(log, ordered)
    return StepTimes(seconds, _classes(log, ordered, seconds, waits), waits, told)


def _between_lines(log: Log, ordered: Ordered) -> np.ndarray:
    """Return seconds per step since the line before; NaN where nothing tells.

    To the microsecond: no clock prints more, and a difference of large numbers is not exact.
    """
    seconds = np.full(len(ordered), np.nan)
    end, last_step, last_time = 0, 0, np.nan
    for steps, times in _pieces(log, ordered):
        start, end = end, end + len(steps)
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.round(np.diff(times, prepend=last_time), 6)
            per_step = apart / np.diff(steps, prepend=last_step)
        is_told = ordered.follows[start:end] & (apart >= 0)
        seconds[start:end][is_told] = per_step[is_told]
        last_step, last_time = steps[-1], times[-1]
    return seconds


def _pieces(log: Log, ordered: Ordered) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield steps and timestamps of the rows that count, in pieces where that is all of them."""
    if isinstance(ordered.rows, slice):
        pieces = log.rows.packed_steps.pieces(), log.rows.packed_times.pieces()
        yield from zip(*pieces, strict=True)
    elif len(ordered):
        yield log.rows.steps[ordered.rows], log.rows.times[ordered.rows]


def _waits(log: Log, ordered: Ordered) -> dict[str, Waits]:
    """Return the seconds of every kind of wait between each line and the one before."""
    if not log.waits or not len(ordered):
        return {}
    lines = log.rows.lines[ordered.rows]
    if (lines[1:] <= lines[:-1]).any():
        return {}  # Folded into one line, or pieces out of order: no telling what is between.
    at: dict[str, list[tuple[int, float]]] = defaultdict(list)
    indices = np.searchsorted(lines, [wait.line for wait in log.waits])
    for wait, index in zip(log.waits, indices.tolist(), strict=True):
        if index < len(lines):
            at[wait.what].append((index, wait.seconds))
    found = {}
    for what, told in at.items():
        rows, where = np.unique([index for index, _ in told], return_inverse=True)
        found[what] = Waits(rows, np.bincount(where, [seconds for _, seconds in told]))
    return found


def _classes(
    log: Log, ordered: Ordered, seconds: np.ndarray, waits: dict[str, Waits]
) -> np.ndarray:
    code = {name: index for index, name in enumerate(CLASSES)}
    num = len(seconds)
    classes = np.full(num, code[STEADY], dtype=np.uint8)
    if not num:
        return classes
    is_start = ~ordered.follows
    is_save, is_eval = np.zeros(num, dtype=bool), np.zeros(num, dtype=bool)
    for what, wait in waits.items():
        if what in ("previous save", "blocking save"):
            is_save[wait.rows[wait.seconds > 0]] = True
        elif what == "eval":
            is_eval[wait.rows[wait.seconds > 0]] = True
    is_quiet = ~(is_start | is_save | is_eval) & np.isfinite(seconds) & (seconds > 0)
    usual = float("nan")
    if is_quiet.any():
        usual = float(np.median(seconds[is_quiet], overwrite_input=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = seconds / usual
    classes[ratio > _STALL_RATIO] = code[STALL]
    classes[ratio < _CATCH_UP_RATIO] = code[CATCH_UP]
    # Two lines flushed together: the first came late by what the second came early.
    is_early = (classes[1:] == code[CATCH_UP]) & (classes[:-1] == code[STEADY])
    early = 1 + np.flatnonzero(is_early)
    early = early[ratio[early - 1] > _WARM_UP_RATIO]
    pair = (ratio[early - 1] + ratio[early]) / 2
    is_pair = (_LATE_PAIR[0] < pair) & (pair < _LATE_PAIR[1])
    classes[early - 1] = np.where(is_pair, code[CATCH_UP], code[STALL])
    if "mark/profile" in log.rows.cells:
        classes[column(log.rows, "mark/profile")[ordered.rows] == 1] = code[PROFILE]
    classes[is_eval] = code[EVAL]
    classes[is_save] = code[CHECKPOINT]
    # A step of a warm-up may be long; the mean of it and of the first one is none of either.
    may_be_long = (code[STEADY], code[STALL])
    for number, start in enumerate(np.flatnonzero(is_start).tolist()):
        begun = code[COMPILE] if number == 0 else code[RESTART]
        classes[start] = begun
        for i in range(start + 1, min(start + _WARM_UP_STEPS, num)):
            is_mean_with_first = log.format == "Megatron-LM" and i == start + 1
            is_long = classes[i] in may_be_long and ratio[i] > _WARM_UP_RATIO
            if is_mean_with_first or is_long:
                classes[i] = begun
    return classes
