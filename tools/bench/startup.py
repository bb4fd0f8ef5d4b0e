"""How long a launch takes from nothing to its first step, beside a bare script that imports JAX.

Processes are measured from outside: from their start until the first step is known to be done. The
data is prepared beforehand; the compilation cache is empty (cold) or that of the launch before
(warm).
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from axl_exp.resolve import resolve
from axl_exp.run.layout import RunDir
from axl_exp.train.devices import select_devices
from tools.bench.measure import Report, measure_in_turns
from tools.bench.parity import sizes_of

CONFIG = "fuji-tiny"
GOAL_RATIO = 1.2
GOAL_WARM_SECONDS = 10
TIMEOUT_SECONDS = 600
POLL_SECONDS = 0.005


class StartupError(Exception):
    """A measured process ended before its first step; the message has the end of its output."""


def measure_startup(root: Path, *, num_rounds: int) -> Report:
    """Return seconds from process start to the end of the first step, cold and warm."""
    cfg = resolve(CONFIG, selector=select_devices("auto")).config
    sizes = json.dumps({**dataclasses.asdict(sizes_of(cfg)), "num_steps": 1})
    with tempfile.TemporaryDirectory() as directory:
        cache, work = Path(directory, "cache"), Path(directory)

        def bare_script(*, cold: bool) -> float:
            arguments = [str(root / "tools" / "bench" / "bare.py"), sizes]
            return _until_first_step(root, arguments, cache=cache, cold=cold, metrics=None)

        def launch(*, cold: bool) -> float:
            run_dir = RunDir(Path(tempfile.mkdtemp(dir=work)) / "run")
            arguments = ["-m", "axl_exp.launch", f"--config={CONFIG}", f"--run_dir={run_dir.path}"]
            return _until_first_step(
                root, arguments, cache=cache, cold=cold, metrics=run_dir.metrics
            )

        launch(cold=True)  # Builds the embedded corpus where this machine has none yet.
        cold = measure_in_turns(
            {
                "bare script, cold": lambda: bare_script(cold=True),
                "launch, cold": lambda: launch(cold=True),
            },
            num_rounds=num_rounds,
        )
        shutil.rmtree(cache)
        bare_script(cold=False)  # These two fill the cache.
        launch(cold=False)
        warm = measure_in_turns(
            {
                "bare script, warm": lambda: bare_script(cold=False),
                "launch, warm": lambda: launch(cold=False),
            },
            num_rounds=num_rounds,
        )
    return Report(
        title=f"{CONFIG}: seconds to the end of the first step",
        sides=[*cold, *warm],
        goal=f"launch, cold at most {GOAL_RATIO} x the bare script, cold; "
        f"launch, warm under {GOAL_WARM_SECONDS} s",
        notes=(f"{num_rounds} rounds; ratios are to the cold bare script",),
    )


def _until_first_step(
    root: Path, arguments: list[str], *, cache: Path, cold: bool, metrics: Path | None
) -> float:
    """Return the seconds until the process's first step is done, then end it.

    That is known by the first step record in `metrics`, or by the first line on its stdout.
    """
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while time.perf_counter() - start < TIMEOUT_SECONDS:
                if _has_first_step(metrics) if metrics else os.fstat(output.fileno()).st_size:
                    return time.perf_counter() - start
                if process.poll() is not None:
                    break
                time.sleep(POLL_SECONDS)
            output.seek(0)
            raise StartupError(f"no first step of {arguments}:\n{output.read()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _has_first_step(metrics: Path) -> bool:
    return metrics.exists() and '"train/loss"' in metrics.read_text(errors="replace")
