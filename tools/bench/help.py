"""How long `--help` of each command takes, beside a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tools.bench.measure import Report, measure_in_turns

COMMANDS = ("axl_exp.launch", "axl_exp.golden", "axl_exp.compare")
GOAL_SECONDS = 0.3


def measure_help(root: Path, *, num_rounds: int) -> Report:
    """Return the wall seconds of `python -m <command> --help` for every command."""

    def wall(*arguments: str) -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], cwd=root, stdout=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - start

    sides = {"python -c pass": lambda: wall("-c", "pass")}
    for command in COMMANDS:
        sides[f"{command} --help"] = lambda command=command: wall("-m", command, "--help")
    return Report(
        title="--help, seconds",
        sides=measure_in_turns(sides, num_rounds=num_rounds),
        goal=f"every command under {GOAL_SECONDS} s",
        notes=(),
    )
