"""TensorBoard event files, read whole: every scalar of every step, none sampled away.

A file is records of `length u64, crc u32, payload, crc u32`, little-endian; a payload is an Event
message. Its few fields are decoded here by their numbers in TensorFlow's event.proto,
summary.proto and tensor.proto, so that no framework is loaded.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from axl_exp.compare.logs.log import LogError
from axl_exp.run.metrics_reader import Metrics, Problem
from axl_exp.run.series import Series

_MARK = "tfevents"
_MAX_PAYLOAD = 1 << 30
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE = 1, 2
# Common tags -> our names.
_NAMES = {
    "loss": "train/loss",
    "learning/loss": "train/loss",
    "learning/grad_norm": "train/gradient_norm",
    "learning/current_learning_rate": "train/learning_rate",
    "perf/step_time_seconds": "perf/step_seconds",
    "perf/per_device_tflops_per_sec": "perf/tflops_per_device",
    "loss_metrics/global_avg_loss": "train/loss",
    "loss_metrics/global_max_loss": "train/max_loss",
    "throughput(tps)": "printed/tokens_per_second_per_device",
    "tflops": "perf/tflops_per_device",
    "memory/max_reserved(GiB)": "perf/memory_gib",
    "time_metrics/end_to_end(s)": "perf/step_seconds",
    "validation_metrics/loss": "eval/validation/loss",
    "lm loss": "train/loss",
    "lm-loss-training/lm loss": "train/loss",
    "lm loss validation": "eval/validation/loss",
    "iteration-time": "perf/step_seconds",
    "throughput": "perf/tflops_per_device",
    "reduced_train_loss": "train/loss",
    "train_step_timing in s": "perf/step_seconds",
    "val_loss": "eval/validation/loss",
    "train/grad_norm": "train/gradient_norm",
    "eval/loss": "eval/validation/loss",
    "grad-norm": "train/gradient_norm",
    "grad_norm": "train/gradient_norm",
    "learning-rate": "train/learning_rate",
    "learning_rate": "train/learning_rate",
    "average_step_time": "perf/step_seconds",
}


def event_files(directory: Path) -> list[Path]:
    """Return the event files in `directory` and its folders, by name; empty where none is."""
    found = [*directory.glob(f"*{_MARK}*"), *directory.glob(f"*/*{_MARK}*")]
    return sorted(path for path in found if path.is_file())


def is_event_file(path: Path) -> bool:
    """Return whether the name is that of an event file."""
    return _MARK in path.name


def read_events(paths: list[Path], *, root: Path) -> Metrics:
    """Return every scalar of the event files, under our names where we know the tag.

    A tag of a file in a folder below `root` is prefixed with the folder, as TensorBoard does.

    Raises:
        LogError: None of the files holds a scalar.
    """
    metrics = Metrics(root)
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for path in paths:
        folder = "" if path.parent == root or path == root else f"{path.parent.relative_to(root)}/"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LogError(f"cannot read {path}: {error.strerror}") from error
        num_read = 0
        try:
            for payload in _payloads(data):
                num_read += 1
                for tag, step, value in _scalars(payload):
                    name = _NAMES.get(tag, tag) if not folder else folder + tag
                    metrics.num_repeated += step in found[name]
                    found[name][step] = value
                    metrics.num_records += 1
        except (ValueError, IndexError, struct.error):
            metrics.problems.append(Problem(num_read + 1, f"{path.name} is torn or damaged there"))
    if not found:
        raise LogError(f"{root}: none of {len(paths)} event files holds a scalar.")
    for name, at_step in sorted(found.items()):
        steps = sorted(at_step)
        values = np.array([at_step[step] for step in steps])
        metrics.numbers[name] = Series(np.array(steps, dtype=np.int64), values)
    return metrics


def _payloads(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        start = position + 12
        if length > _MAX_PAYLOAD or start + length + 4 > len(data):
            raise ValueError("cut short")
        yield data[start : start + length]
        position = start + length + 4


def _scalars(event: bytes) -> Iterator[tuple[str, int, float]]:
    """Yield tag, step and value of every scalar of an Event."""
    step, summaries = 0, []
    for number, value in _fields(event):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    if not 0 <= step <= 2**53:
        return
    for summary in summaries:
        for number, item in _fields(summary):
            if number == 1 and isinstance(item, bytes):
                tag, scalar = _value(item)
                if scalar is not None:
                    yield tag, step, scalar


def _value(item: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in _fields(item):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            tag = value.decode("utf-8", errors="replace")
        elif number == 2 and len(value) == 4:
            (scalar,) = struct.unpack("<f", value)
        elif number == 8:
            scalar = _tensor(value)
    return tag, scalar


def _tensor(tensor: bytes) -> float | None:
    """Return the number in a tensor of one float or double; None for any other."""
    dtype, formats = 0, {_FLOAT: "<f", _DOUBLE: "<d"}
    for number, value in _fields(tensor):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number in (4, 5, 6) and isinstance(value, bytes):
            unpacked = formats.get(dtype, "")
            if unpacked and len(value) == struct.calcsize(unpacked):
                return struct.unpack(unpacked, value)[0]
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of every field of a message; fixed-size values as their bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[kind] if kind in (_FIXED64, _FIXED32) else -1
        if length < 0 or position + length > len(message):
            raise ValueError("not a message")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("not a number")
