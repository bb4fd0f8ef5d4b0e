"""Where the time of two runs went, over the steps that both have."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.align import pair
from axl_exp.compare.load import Run
from axl_exp.run.series import find

_STEP_SECONDS = "perf/step_seconds"
_WITHIN_STEPS = (
    ("host waits for data", "time/data_wait_seconds"),
    ("host waits for the save before", "time/previous_save_seconds"),
    ("host copies for a save", "time/blocking_save_seconds"),
)
_EVAL_SECONDS = re.compile(r"eval/.+/seconds")


@dataclass(frozen=True)
class TimeUse:
    """Seconds that both runs spent on one thing.

    Attributes:
        what: A class of steps (`steady steps`), or what was done between steps.
        a_seconds: Total in A.
        b_seconds: Total in B.
        a_num_steps: Steps of that class in A; None for what is no step.
        b_num_steps: Likewise in B.
        is_within_steps: The host's waiting while the device worked: part of the steps, not beside.
    """

    what: str
    a_seconds: float
    b_seconds: float
    a_num_steps: int | None = None
    b_num_steps: int | None = None
    is_within_steps: bool = False


def time_use(a: Run, b: Run) -> list[TimeUse]:
    """Return where the time went at the steps that both runs timed; the differences add up.

    Empty where they share no step.
    """
    steps = pair(a.metrics.numbers.get(_STEP_SECONDS), b.metrics.numbers.get(_STEP_SECONDS)).steps
    if not len(steps):
        return []
    classes_a, classes_b = (_by_class(run, steps) for run in (a, b))
    found = []
    for name in sorted(classes_a.keys() | classes_b.keys(), key=_steady_first):
        (a_seconds, a_num), (b_seconds, b_num) = (
            classes.get(name, (0.0, 0)) for classes in (classes_a, classes_b)
        )
        found.append(TimeUse(f"{name} steps", a_seconds, b_seconds, a_num, b_num))
    found.append(TimeUse("evaluation", _evaluation(a, steps), _evaluation(b, steps)))
    found.append(TimeUse("blocked by checkpoints", _checkpoints(a, steps), _checkpoints(b, steps)))
    for what, key in _WITHIN_STEPS:
        waits = [_total(run, key, steps) for run in (a, b)]
        found.append(TimeUse(f"within steps: {what}", waits[0], waits[1], is_within_steps=True))
    return [use for use in found if use.a_seconds or use.b_seconds]


def _evaluation(run: Run, steps: np.ndarray) -> float:
    return sum(
        _total(run, key, steps) for key in run.metrics.numbers if _EVAL_SECONDS.fullmatch(key)
    )


def _checkpoints(run: Run, steps: np.ndarray) -> float:
    """Return the blocking seconds of checkpoints; of a step saved twice, those of the last time."""
    at_step = {
        event["step"]: event.get("blocking_seconds")
        for event in run.metrics.events
        if event["event"] == "checkpoint" and steps[0] <= event["step"] <= steps[-1]
    }
    return sum(float(s) for s in at_step.values() if isinstance(s, (int, float)))


def _by_class(run: Run, steps: np.ndarray) -> dict[str, tuple[float, int]]:
    """Return the seconds and the number of the steps of each class; finite times only."""
    series, labels = run.metrics.numbers[_STEP_SECONDS], run.metrics.labels.get("time/class")
    seconds = series.values[find(series.steps, steps)[0]]
    names, codes = ("unlabelled",), np.zeros(len(steps), dtype=np.int64)
    if labels is not None:
        names = (*labels.names, "unlabelled")
        index, has = find(labels.steps, steps)
        codes[:] = len(labels.names)
        codes[has] = labels.codes[index]
    is_known = np.isfinite(seconds)
    codes, seconds = codes[is_known], seconds[is_known]
    counts = np.bincount(codes, minlength=len(names)).tolist()
    totals = [float(seconds[codes == code].sum()) for code in range(len(names))]
    told = zip(names, totals, counts, strict=True)
    return {name: (total, count) for name, total, count in told if count}


def _total(run: Run, key: str, steps: np.ndarray) -> float:
    series = run.metrics.numbers.get(key)
    if series is None:
        return 0.0
    values = series.values[find(series.steps, steps)[0]]
    return float(values[np.isfinite(values)].sum())


def _steady_first(name: str) -> tuple[bool, str]:
    return name != "steady", name
