"""How long each step took and what else happened in it, as far as a log can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.order import Ordered, column

COMPILE, STEADY, CHECKPOINT, EVAL = "compile", "steady", "checkpoint", "eval"
STALL, CATCH_UP, RESTART, PROFILE = "stall", "catch-up", "restart", "profile"

# Against the median of the steps in which nothing happened. Chosen, not measured: a step of three
# times the usual length is no noise of a device, half the usual length no step of one.
_STALL_RATIO = 3.0
_CATCH_UP_RATIO = 0.5
_WARM_UP_RATIO = 1.5
_WARM_UP_STEPS = 3
_LATE_PAIR = (0.7, 1.3)  # Mean of a late line and the quick one behind it, against the median.


@dataclass(frozen=True)
class StepTimes:
    """Seconds and class of every row that counts, in the order of `Ordered.rows`.

    Attributes:
        seconds: NaN where nothing tells.
        classes: One of the class names above.
        waits: Kind of wait -> seconds of it in each step; 0 where there was none.
        told: Where the seconds come from.
    """

    seconds: np.ndarray
    classes: np.ndarray
    waits: dict[str, np.ndarray]
    told: str


def step_times(log: Log, ordered: Ordered) -> StepTimes:
    """Return times and classes, from timestamps where the log has them, else from its own seconds.

    Between two step lines the device did one step, but where the host stood still; so timestamps
    give the device's time in steady state, and printed host times do not.
    """
    printed = column(log.rows, "printed/seconds")[ordered.rows]
    from_times = _between_lines(log, ordered)
    has_times = np.isfinite(from_times[1:]).any() if len(from_times) > 1 else False
    is_host_time = log.format == "MaxText"
    if has_times and (is_host_time or not np.isfinite(printed).any()):
        seconds = np.where(np.isfinite(from_times), from_times, printed)
        told = "differences of consecutive timestamps"
    else:
        seconds = printed
        told = "as printed: the host's time between dispatches" if is_host_time else "as printed"
    waits = _waits(log, ordered)
    return StepTimes(seconds, _classes(log, ordered, seconds, waits), waits, told)


def _between_lines(log: Log, ordered: Ordered) -> np.ndarray:
    """Return seconds per step since the line before; NaN where nothing tells."""
    if not len(ordered.rows):
        return np.array([])
    times, steps = log.rows.times[ordered.rows], log.rows.steps[ordered.rows]
    apart = np.append(np.nan, np.diff(times))
    num_steps = np.append(1, np.diff(steps))
    with np.errstate(invalid="ignore", divide="ignore"):
        per_step = apart / num_steps
    return np.where(ordered.follows & (apart >= 0), per_step, np.nan)


def _waits(log: Log, ordered: Ordered) -> dict[str, np.ndarray]:
    """Return the seconds of every kind of wait between each line and the one before."""
    lines = log.rows.lines[ordered.rows]
    found: dict[str, np.ndarray] = {}
    if not len(lines) or np.any(np.diff(lines) <= 0):
        return found  # Folded into one line, or pieces out of order: no telling what is between.
    indices = np.searchsorted(lines, [wait.line for wait in log.waits])
    for wait, index in zip(log.waits, indices.tolist(), strict=True):
        if index < len(lines):
            if wait.what not in found:
                found[wait.what] = np.zeros(len(lines))
            found[wait.what][index] += wait.seconds
    return found


def _classes(
    log: Log, ordered: Ordered, seconds: np.ndarray, waits: dict[str, np.ndarray]
) -> np.ndarray:
    num = len(seconds)
    classes = np.full(num, STEADY, dtype=object)
    if not num:
        return classes
    none = np.zeros(num)
    is_start = ~ordered.follows
    is_save = (waits.get("previous save", none) > 0) | (waits.get("blocking save", none) > 0)
    is_eval = waits.get("eval", none) > 0
    quiet = seconds[~(is_start | is_save | is_eval) & np.isfinite(seconds) & (seconds > 0)]
    usual = float(np.median(quiet)) if len(quiet) else float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = seconds / usual
    classes[ratio > _STALL_RATIO] = STALL
    classes[ratio < _CATCH_UP_RATIO] = CATCH_UP
    # Two lines flushed together: the first came late by what the second came early.
    early = 1 + np.flatnonzero((classes[1:] == CATCH_UP) & (classes[:-1] == STEADY))
    early = early[ratio[early - 1] > _WARM_UP_RATIO]
    pair = (ratio[early - 1] + ratio[early]) / 2
    is_pair = (_LATE_PAIR[0] < pair) & (pair < _LATE_PAIR[1])
    classes[early - 1] = np.where(is_pair, CATCH_UP, STALL)
    classes[column(log.rows, "mark/profile")[ordered.rows] == 1] = PROFILE
    classes[is_eval] = EVAL
    classes[is_save] = CHECKPOINT
    starts = np.flatnonzero(is_start)
    for number, start in enumerate(starts.tolist()):
        classes[start] = COMPILE if number == 0 else RESTART
        for i in range(start + 1, min(start + _WARM_UP_STEPS, num)):
            is_mean_with_first = log.format == "Megatron-LM" and i == start + 1
            if is_mean_with_first:
                classes[i] = COMPILE if number == 0 else RESTART
            if classes[i] in (STEADY, STALL) and ratio[i] > _WARM_UP_RATIO:
                classes[i] = COMPILE if number == 0 else RESTART
    return classes
