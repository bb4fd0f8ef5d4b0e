"""A log as a run: the same columns, environment and config that a run directory has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from axl_exp.compare.align import pair_pieces
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.order import Ordered, order, series
from axl_exp.compare.logs.step_time import CLASSES, STEADY, StepTimes, step_times
from axl_exp.config.parse import FlatConfig
from axl_exp.run.metrics_reader import Metrics
from axl_exp.run.packed import Packed
from axl_exp.run.series import Labels, Series

# What is a peak, of all that logs say of memory.
_PEAKS = ("total memory size", "total estimated memory size", "max allocated", "max reserved")
_PATH_KEY = re.compile(r"[A-Za-z_]\w*")


def metrics_of(log: Log) -> Metrics:
    """Return the columns of a log under our names; what was chosen stands in its `column_notes`."""
    ordered = order(log.rows)
    metrics = Metrics(log.path, num_records=len(log.rows))
    metrics.numbers.update(series(log.rows, ordered))
    log.column_notes = list(ordered.notes)
    evals = order(log.evals)
    metrics.numbers.update(series(log.evals, evals))
    _add_times(metrics, log, ordered, step_times(log, ordered))
    metrics.numbers = {
        key: metrics.numbers[key] for key in sorted(metrics.numbers) if not key.startswith("mark/")
    }
    return metrics


def _add_times(metrics: Metrics, log: Log, ordered: Ordered, times: StepTimes) -> None:
    seconds = times.seconds
    known = np.isfinite(seconds)
    if not known.any():
        return
    steps = log.rows.packed_steps
    if not isinstance(ordered.rows, slice):
        steps = Packed(steps.unpack()[ordered.rows])
    known_steps = steps if known.all() else _chosen(steps, known)
    metrics.numbers["perf/step_seconds"] = Series(known_steps, Packed(seconds[known]))
    codes = Packed(dtype=np.int64)
    codes.extend(times.classes)
    metrics.labels["time/class"] = Labels(steps, codes, CLASSES)
    for what, key in (
        ("previous save", "time/previous_save_seconds"),
        ("blocking save", "time/blocking_save_seconds"),
    ):
        if what in times.waits:
            waited = np.zeros(len(steps))
            waited[times.waits[what].rows] = times.waits[what].seconds
            metrics.numbers[key] = Series(steps, Packed(waited))
    log.column_notes.append(f"step times: {times.told}")
    rate = metrics.numbers.get("printed/tokens_per_second_per_device")
    if log.format == "torchtitan" and rate is not None:
        metrics.numbers["perf/tokens_per_second"] = rate
        log.column_notes.append("tokens/s are those of one device")
        return
    num_devices = log.facts.get("hardware", {}).get("device_count")
    is_good = known & (seconds > 0) & (times.classes == CLASSES.index(STEADY))
    good_steps, good_seconds = _chosen(steps, is_good), Packed(seconds[is_good])
    for rate, key, factor in (
        ("printed/tokens_per_second_per_device", "perf/tokens_per_second", num_devices),
        ("printed/tflops_per_device", "perf/tflops_per_device", 1),
    ):
        per_step = work_per_step(metrics, rate)
        if per_step and factor:
            is_tokens = "tokens" in key
            work = (round(per_step) if is_tokens else per_step) * factor
            metrics.numbers[key] = Series(good_steps, _Rates(work, good_seconds))
            if is_tokens:
                log.facts["tokens_per_step"] = work


def _chosen(column: Packed, mask: np.ndarray) -> Packed:
    """Return the rows of a column that `mask` chooses."""
    chosen, start = Packed(dtype=column.dtype.type), 0
    for piece in column.pieces():
        chosen.extend(piece[mask[start : start + len(piece)]])
        start += len(piece)
    return chosen


@dataclass(frozen=True)
class _Rates:
    """Work per second of steps that all do the same work; a column with no memory of its own."""

    work: float
    seconds: Packed

    def __len__(self) -> int:
        return len(self.seconds)

    def unpack(self) -> np.ndarray:
        return self.work / self.seconds.unpack()

    def pieces(self) -> Iterator[np.ndarray]:
        return (self.work / piece for piece in self.seconds.pieces())


def work_per_step(metrics: Metrics, rate: str) -> float:
    """Return what one step holds: a printed rate times the printed seconds, 0 where untold.

    Both are rounded; the step at which that matters least tells it.
    """
    rates, seconds = metrics.numbers.get(rate), metrics.numbers.get("printed/seconds")
    if rates is None or seconds is None:
        return 0.0
    least_error, told = float("inf"), 0.0
    for paired in pair_pieces(rates, seconds):
        with np.errstate(invalid="ignore", divide="ignore"):
            work = paired.a * paired.b
            # A stall of minutes leaves few digits in the rate, a drain of milliseconds few in the
            # seconds.
            error = 0.0005 / paired.b + 0.0005 / paired.a
        error[~(np.isfinite(work) & (work > 0))] = np.inf
        if len(error) and (best := error.min()) < least_error:
            least_error, told = float(best), float(work[np.argmin(error)])
    return told


def env_of(log: Log) -> dict[str, Any]:
    """Return the environment that a log tells, in the fields of an env.json."""
    env: dict[str, Any] = {"format": log.format, "config": log.facts.get("run_name", log.path.stem)}
    for key, value in log.facts.items():
        if value not in ({}, "", None) and key != "tflops_per_step":
            env["host" if key == "process_index" else key] = (
                {"process_index": value} if key == "process_index" else value
            )
    return env


def config_of(log: Log) -> FlatConfig | None:
    """Return the settings that a log prints, as a config; None where it prints none."""
    if not log.arguments:
        return None
    texts = {
        key if _PATH_KEY.fullmatch(key) else f"[{key!r}]": value
        for key, value in sorted(log.arguments.items())
    }
    return FlatConfig(dict(texts), texts, {path: i for i, path in enumerate(texts, start=1)})


def summary_of(log: Log) -> dict[str, Any]:
    """Return how the run ended and the highest memory that the log tells, in a summary's fields."""
    status = "failed" if log.failure else "finished" if log.has_ended else "ended without a word"
    summary: dict[str, Any] = {"status": status, "error": log.failure}
    peaks = [m for m in log.memory if m.quantity in _PEAKS]
    if peaks:
        highest = max(peaks, key=lambda memory: memory.num_bytes)
        summary["peak_memory_bytes"] = highest.num_bytes
        summary["peak_memory_told"] = f"{highest.quantity} of {highest.device}: {highest.label}"
    return summary
