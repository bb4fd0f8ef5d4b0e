"""How long the comparator takes to read large logs, and how much memory it takes."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bench.measure import Report, Side

_GB = 1_000_000_000
_CHATTER_LINES = 12  # Of other modules, between two steps.
_NUM_ROWS = 1_000_000
_READ = """
import sys
from pathlib import Path
from axl_exp.compare.load import load_run
from axl_exp.run.layout import RunDir
run = load_run(RunDir(Path(sys.argv[1])))
assert len(run.metrics.numbers["train/loss"]) > 1000
"""


def measure_compare(root: Path, *, num_rounds: int) -> Report:
    """Return the CPU seconds and the peak memory of reading one side, for three large inputs.

    The inputs are made in the directory for temporary files, and removed. CPU seconds of a process
    of its own, the interpreter's start included: what else the machine does is not ours.
    """
    inputs = {
        "MaxText, 1 GB, one step line in 13": (_maxtext(_CHATTER_LINES), _GB),
        "MaxText, 1 GB of step lines": (_maxtext(0), _GB),
        "metrics.jsonl, a million rows": (_jsonl(_NUM_ROWS), 10 * _GB),
    }
    notes, sides = [], []
    with tempfile.TemporaryDirectory(prefix="axl_exp_bench_") as folder:
        for name, (lines, limit) in inputs.items():
            # By its name a file of ours is known; another must not have it.
            path = Path(folder) / ("metrics.jsonl" if "jsonl" in name else "train.log")
            num_lines = _write(path, lines, limit=limit)
            samples = [_read(root, path) for _ in range(num_rounds)]
            sides.append(Side(name, tuple(seconds for seconds, _ in samples)))
            peak = max(peak for _, peak in samples)
            notes.append(f"{name}: {num_lines:,} lines, peak memory {peak / 1e6:.0f} MB")
    return Report(
        title="reading one side, CPU seconds",
        sides=sides,
        goal="a MaxText log of 1 GB under 10 s and 300 MB, a million rows under 5 s",
        notes=tuple(notes),
    )


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


def _read(root: Path, path: Path) -> tuple[float, float]:
    """Return CPU seconds and peak bytes of a process that reads the file at `path`."""
    process = subprocess.Popen([sys.executable, "-c", _READ, str(path)], cwd=root)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "read")
    return usage.ru_utime + usage.ru_stime, 1024.0 * usage.ru_maxrss


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
