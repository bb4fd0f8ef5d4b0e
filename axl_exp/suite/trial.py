"""One run of one case on one side: launched, watched, and its end written down."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from axl_exp.run.checkout import Checkout
from axl_exp.run.files import RunFileError, read_json, write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics_reader import read_metrics
from axl_exp.suite.definition import Case

_POLL_SECONDS = 0.2
_KILL_AFTER_SECONDS = 60.0  # Of a run that was asked to stop: it saves a checkpoint first.


@dataclass(frozen=True)
class Trial:
    """A place in the plan.

    Attributes:
        side: A or B.
        repeat: From 1.
        folder: Where it leaves its run directory, its output and its end.
    """

    case: Case
    side: str
    repeat: int
    folder: Path

    @property
    def run_dir(self) -> RunDir:
        """What the run leaves."""
        return RunDir(self.folder / "run")

    @property
    def output(self) -> Path:
        """What the launch printed."""
        return self.folder / "output.txt"

    @property
    def end(self) -> Path:
        """How it ended: there once it has."""
        return self.folder / "trial.json"

    @property
    def name(self) -> str:
        """As progress and reports call it."""
        return f"{self.case.name} {self.side}{self.repeat}"


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        failure: Why there is nothing to compare; empty where there is.
        seconds: From launch to end.
    """

    failure: str
    seconds: float


def ended(trial: Trial) -> Ended | None:
    """Return how `trial` ended in an earlier session; None where it has not."""
    try:
        told = read_json(trial.end)
        return Ended(str(told["failure"]), float(told["seconds"])) if told else None
    except (RunFileError, KeyError, TypeError, ValueError):
        return None


def run_trial(
    trial: Trial, *, checkout: Checkout, extra_flags: list[str], timeout_seconds: float
) -> Ended:
    """Launch `trial` from its checkout, wait for its end, write that down and return it.

    What an interrupted session left of it goes first: a run that resumes is another measurement.
    """
    shutil.rmtree(trial.folder, ignore_errors=True)
    trial.folder.mkdir(parents=True)
    started = time.monotonic()
    command = [
        checkout.python,
        *("-m", "axl_exp.launch"),
        *trial.case.flags(),
        f"--run_dir={trial.run_dir.path.absolute()}",
        *extra_flags,
    ]
    deadline = started + timeout_seconds
    failure = ""
    if trial.case.interrupt_at_step is not None:
        failure = _launch(trial, command, checkout, deadline, stop=_reached(trial))
        if not failure and read_json(trial.run_dir.summary).get("status") != "stopped":
            failure = f"it ended before step {trial.case.interrupt_at_step} could interrupt it"
    failure = failure or _launch(trial, command, checkout, deadline)
    told = Ended(failure, time.monotonic() - started)
    write_json(trial.end, asdict(told))
    return told


def _reached(trial: Trial) -> Callable[[], bool]:
    """Return a function that tells whether the run is at the step of its interruption."""

    def reached() -> bool:
        if not trial.run_dir.metrics.exists():
            return False
        losses = read_metrics(trial.run_dir.metrics).numbers.get("train/loss")
        at = trial.case.interrupt_at_step
        return losses is not None and len(losses) > 0 and int(losses.steps[-1]) >= (at or 0)

    return reached


def _launch(
    trial: Trial,
    command: list[str],
    checkout: Checkout,
    deadline: float,
    *,
    stop: Callable[[], bool] | None = None,
) -> str:
    """Run `command` to its end; return why it failed, empty where it did not."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.path), "PYTHONUNBUFFERED": "1"}
    asked = False
    with trial.output.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=checkout.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to pass on.
        )
        with _ending(process):
            while process.poll() is None:
                if time.monotonic() > deadline:
                    return "timed out"
                if stop is not None and not asked and stop():
                    process.terminate()
                    asked = True
                time.sleep(_POLL_SECONDS)
    return "" if process.returncode == 0 or asked else _last_words(trial, process.returncode)


@contextlib.contextmanager
def _ending(process: subprocess.Popen) -> Iterator[None]:
    """End the process and all that it started, however the block is left."""
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_KILL_AFTER_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_words(trial: Trial, code: int) -> str:
    lines = trial.output.read_text("utf-8", "replace").strip().splitlines()
    said = next((line for line in reversed(lines) if line.startswith("error:")), "")
    said = said.removeprefix("error: ") or (lines[-1] if lines else "it printed nothing")
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{how}: {said[:300]}"
