"""Run directories made by our own writers, with numbers that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axl_exp.run.environment import write_env
from axl_exp.run.files import write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import MetricsWriter

CONFIG = """\
checkpointer.save_every_steps: 50
input.global_batch_size: 8
learner.learning_rate: 0.001
max_step: 60
model.dim: 256
seed: 0
"""
TOKENS = 1024


def launch(**changes: Any) -> dict[str, Any]:
    """Return the facts of one launch, `changes` by top-level key."""
    return {
        "started_unix_seconds": 1_000_000.0,
        "git": {"root": "/src", "commit": "a" * 40, "branch": "main", "dirty": False},
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        "hardware": {"platform": "tpu", "device_kind": "TPU v5e", "device_count": 4},
        "xla_flags": "",
        **changes,
    }


MakeRun = Callable[..., RunDir]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str,
        *,
        losses: Mapping[int, float] | None = None,
        step_seconds: float = 0.25,
        noise: float = 0.0,
        noise_seed: int = 0,
        num_steps: int = 60,
        evals: Mapping[int, float] | None = None,
        config: str | None = CONFIG,
        facts: Mapping[str, Any] | None = None,
        status: str | None = "finished",
        root: Path = tmp_path,
        **launch_changes: Any,
    ) -> RunDir:
        """Make a run whose loss falls as 9 - step / 20 but where `losses` says otherwise."""
        run_dir = RunDir(root / name).make()
        if config is not None:
            run_dir.config.write_text(config)
        write_env(
            run_dir,
            launch=launch(**launch_changes),
            facts={
                "config": "fuji-tiny",
                "seed": 0,
                "mesh": "tpu-v5e-4",
                "data": {"dataset": "pydoc:1.0.0", "fingerprint": {"sha256": "d" * 8}},
                "flop_formula": "dense-causal/1",
                "tokens_per_step": TOKENS,
                **(facts or {}),
            },
        )
        rng = np.random.default_rng(noise_seed)
        with MetricsWriter(run_dir.metrics, header={"config": "fuji-tiny"}) as writer:
            for step in range(1, num_steps + 1):
                seconds = step_seconds * (1 + noise * rng.standard_normal())
                is_first = step == 1
                writer.write(
                    {
                        "step": step,
                        "train/loss": (losses or {}).get(step, 9 - step / 20),
                        "train/num_targets": TOKENS,
                        "perf/step_seconds": 2.0 if is_first else seconds,
                        "perf/tokens_per_second": TOKENS / (2.0 if is_first else seconds),
                        "time/class": "compile" if is_first else "steady",
                    }
                )
                if evals and step in evals:
                    writer.write(
                        {
                            "step": step,
                            "eval/held_out/loss": evals[step],
                            "eval/held_out/perplexity": float(np.exp(evals[step])),
                            "eval/held_out/num_targets": 500,
                            "eval/held_out/seconds": 0.5,
                        }
                    )
        if status is not None:
            write_json(run_dir.summary, {"status": status, "peak_memory_bytes": 2**30})
        return run_dir

    return make
