"""Small real launches: fuji-tiny cut down to a step of a few milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from axl_exp.run.metrics_reader import read_metrics

REPOSITORY = Path(__file__).resolve().parents[2]

# fuji-tiny with one narrow layer and short rows; real data, real steps, real checkpoints.
SMALL = (
    "--config=fuji-tiny",
    "--mesh=cpu-1",
    "--config.model.decoder.dim=16",
    "--config.model.decoder.transformer.num_layers=1",
    "--config.input.max_sequence_length=32",
    "--config.input.global_batch_size=8",
    "--config.evalers.validation.input.max_sequence_length=32",
    "--config.evalers.validation.input.global_batch_size=8",
    "--config.evalers.validation.input.num_batches=2",
    "--config.evalers.validation.eval_policy.n=4",
    "--config.checkpointer.save_policy.n=4",
    "--config.max_step=12",
)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the launch command as a user would, in another working directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "axl_exp.launch", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that launches with flags, waits, and returns what came out."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        process = start(*arguments, cwd=tmp_path)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


def losses(run_dir: Path) -> dict[int, float]:
    """Return the loss of every step, as a reader of the run sees them."""
    series = read_metrics(run_dir / "metrics.jsonl").numbers["train/loss"]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
