"""Sides of a benchmark in processes of their own, which take turns by a line of text.

A side that shares no process with another shares no threads, no allocator and no peak of memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Steps of a turn; the first DISTURBED_STEPS are left out.
TURN_STEPS = 5
DISTURBED_STEPS = 2

_ASK, _END = "turn", "end"


class SideError(Exception):
    """A side's process ended too early; the message has the end of what it wrote."""


class SideProcess:
    """The parent's end: starts `python -m MODULE ARGUMENT...` and asks it for turns."""

    def __init__(
        self, root: Path, module: str, *arguments: str, work: Path, variables: Mapping[str, str]
    ):
        self._log = work / f"{module}-{id(self)}.log"
        with self._log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=root,
                # A side ends at once, and leaves its temporary files to the parent.
                env={**os.environ, **variables, "TMPDIR": str(work)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.facts = self._read()

    def turn(self) -> dict[str, float]:
        """Return `seconds` and `cpu_seconds` per undisturbed step of a turn."""
        return self._ask(_ASK)

    def end(self) -> dict[str, float]:
        """End the process; returns the `peak_bytes` of its training."""
        last = self._ask(_END)
        self._process.wait(timeout=60)
        return last

    def kill(self) -> None:
        """End the process whatever it does."""
        self._process.kill()
        self._process.wait()

    def _ask(self, word: str) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # What libraries print may come between.
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SideError(f"a side ended:\n{self._log.read_text(errors='replace')[-2000:]}")


class Turns:
    """The child's end: `ready`, then one call of `step_done` per step; it waits between turns."""

    def __init__(self):
        self._index = 0
        self._seconds = self._cpu_seconds = 0.0

    def ready(self, **facts: Any) -> None:
        """Tell the parent what it may know of this side, and wait for the first turn."""
        _reset_peak()
        self._base_bytes = _memory("VmRSS")
        print(json.dumps(facts), flush=True)
        self._wait()

    def step_done(self) -> None:
        """Count a step; at the end of a turn, answer and wait. Raises SystemExit at the end."""
        self._index += 1
        if self._index == DISTURBED_STEPS:
            self._seconds, self._cpu_seconds = time.perf_counter(), _cpu_seconds()
        elif self._index == TURN_STEPS:
            steps = TURN_STEPS - DISTURBED_STEPS
            seconds = (time.perf_counter() - self._seconds) / steps
            cpu_seconds = (_cpu_seconds() - self._cpu_seconds) / steps
            print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds}), flush=True)
            self._index = 0
            self._wait()

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != _ASK:
            peak = _memory("VmHWM") - self._base_bytes
            print(json.dumps({"peak_bytes": _device_peak() or peak}), flush=True)
            # The trainer's threads are of no use any more.
            os._exit(0)


def train(step: Callable[[], None], turns: Turns) -> None:
    """Call `step` until the parent has enough."""
    while True:
        step()
        turns.step_done()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _reset_peak() -> None:
    # As proc(5) has it: 5 sets the peak of resident memory back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def _device_peak() -> int | None:
    """Return the peak of device memory where an accelerator of JAX or PyTorch tells it."""
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    stats = sys.modules["jax"].devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else None
