"""How long the comparator takes with large files, and how much memory it takes."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bench.measure import Report, Side

_GB = 1_000_000_000
_SMALL = 2_000_000  # Bytes of the side that a large one is compared with.
_CHATTER_LINES = 12  # Of other modules, between two steps.
_NUM_ROWS = 1_000_000
# Starts a command and prints its CPU seconds and its peak memory in KiB. A process begins with the
# peak of the one that it was forked from, so that one is kept small: this, not the benchmark.
_LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def measure_compare(root: Path, *, num_rounds: int) -> Report:
    """Return CPU seconds and peak memory of `compare A B` with a large A, and of its `--help`.

    The inputs are made in the directory for temporary files, and removed. Of a process of its own,
    the interpreter's start and the whole comparison included; CPU seconds, since what else the
    machine does is not ours.
    """
    inputs = {
        "MaxText, 1 GB, one step line in 13": ("train.log", _maxtext(_CHATTER_LINES), _GB),
        "MaxText, 1 GB of step lines": ("train.log", _maxtext(0), _GB),
        "metrics.jsonl, a million rows": ("metrics.jsonl", _jsonl(_NUM_ROWS), 10 * _GB),
    }
    notes, sides = [], []
    for name, (file, lines, limit) in inputs.items():
        with tempfile.TemporaryDirectory(prefix="axl_exp_bench_") as folder:
            small, large = (Path(folder) / side for side in ("small", "large"))
            small.mkdir()
            large.mkdir()
            num_lines = _write(large / file, lines, limit=limit)
            with open(large / file, "rb") as whole:
                (small / file).write_bytes(whole.read(_SMALL).rpartition(b"\n")[0] + b"\n")
            command = (str(large / file), str(small / file))
            side, peak_bytes = _measure(root, name, *command, num_rounds=num_rounds)
        sides.append(side)
        notes.append(f"{name}: {num_lines:,} lines, peak memory {peak_bytes / 1e6:.0f} MB")
    side, peak_bytes = _measure(root, "--help", "--help", num_rounds=num_rounds)
    notes.append(f"--help: peak memory {peak_bytes / 1e6:.0f} MB")
    return Report(
        title="compare A B with a large A and a B of 2 MB, CPU seconds",
        sides=[*sides, side],
        goal="a MaxText log of 1 GB under 10 s and 300 MB, a million rows under 5 s, help under "
        "0.3 s",
        notes=tuple(notes),
    )


def _measure(root: Path, name: str, *arguments: str, num_rounds: int) -> tuple[Side, float]:
    """Return the CPU seconds of `compare` with these arguments, and its peak memory in bytes."""
    samples = [_run(root, *arguments) for _ in range(num_rounds)]
    return Side(name, tuple(s for s, _ in samples)), max(peak for _, peak in samples)


def _run(root: Path, *arguments: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "axl_exp.compare", *arguments]
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        cwd=root,
        capture_output=True,
        check=True,
    )
    status, seconds, peak_kib = json.loads(told.stdout)
    if status:
        raise subprocess.CalledProcessError(status, command, stderr=told.stderr)
    return seconds, 1024.0 * peak_kib


def _write(path: Path, lines: Iterator[str], *, limit: int) -> int:
    """Write lines up to `limit` bytes; return their number."""
    num_bytes = num_lines = 0
    with open(path, "w") as file:
        for line in lines:
            num_bytes += len(line)
            if num_bytes > limit:
                break
            file.write(line)
            num_lines += 1
    return num_lines


def _maxtext(num_chatter: int) -> Iterator[str]:
    rng, seconds, step = random.Random(0), 1000.0, 0
    while True:
        seconds += 0.25 * (1 + 0.01 * rng.gauss(0, 1))
        days, rest = divmod(seconds, 86400)
        minutes, second = divmod(rest, 60)
        hours, minute = divmod(int(minutes), 60)
        stamp = f"I{4 + int(days) // 28:02}{1 + int(days) % 28:02} {hours:02}:{minute:02}"
        stamp += f":{second:09.6f} 1319"
        loss = 3 + 5 / (1 + step / 1000) + 0.05 * rng.gauss(0, 1)
        yield (
            f"{stamp} metric_logger.py:196] completed step: {step}, seconds: 0.250, "
            f"TFLOP/s/device: {400 + rng.gauss(0, 2):.3f}, "
            f"Tokens/s/device: {8192 + rng.gauss(0, 20):.3f}, total_weights: 65536, "
            f"loss: {loss:.3f}, lm_loss: {loss:.3f}, perplexity: {math.exp(loss):.3f}\n"
        )
        for i in range(num_chatter):
            yield f"{stamp} module.py:{100 + i}] chatter number {i} of usual length, 3.14 in it\n"
        step += 1


def _jsonl(num_rows: int) -> Iterator[str]:
    rng = random.Random(0)
    yield '{"schema": "axl_exp.metrics/1", "config": "fuji-tiny"}\n'
    for step in range(1, num_rows + 1):
        seconds = 0.25 * (1 + 0.01 * rng.gauss(0, 1))
        loss = 3 + 5 / (1 + step / 1000) + 0.05 * rng.gauss(0, 1)
        yield (
            f'{{"step": {step}, "train/loss": {loss!r}, "train/gradient_norm": {rng.random()!r}, '
            f'"train/learning_rate": {3e-4 * rng.random()!r}, "train/num_targets": 65536, '
            f'"perf/step_seconds": {seconds!r}, "perf/tokens_per_second": {65536 / seconds!r}, '
            f'"time/data_wait_seconds": {1e-3 * rng.random()!r}, "time/class": "steady"}}\n'
        )
