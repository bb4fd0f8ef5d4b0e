"""A repository whose `axl_exp.launch` is a stub: it writes a run as its settings.json says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# ruff: noqa: E501
# The stub's own file, committed in the fake repository. It trains nothing and imports nothing.
LAUNCH = """
import json, os, pathlib, signal, subprocess, sys, time
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--"))
here = pathlib.Path(__file__).resolve().parents[2]
settings = json.loads((here / "settings.json").read_text())
if settings.get("crash") or pathlib.Path(flags["run_dir"]).parts[-3] == settings.get("crash_in"):
    sys.exit("error: the model does not build")
run = pathlib.Path(flags["run_dir"])
resumed = (run / "metrics.jsonl").exists()
run.mkdir(parents=True, exist_ok=True)
pace = settings.get("pace", 0.0)
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
commit = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
dropout = flags.get("config.dropout", "0.0")
(run / "config.txt").write_text(f"dropout: {dropout}\\nlearner.optimizer.learning_rate: {settings['rate']}\\nseed: 0\\n")
(run / "env.json").write_text(json.dumps({"schema": "axl_exp.env/1", "config": flags["config"], "seed": 0,
    "mesh": "tpu-v5e-1", "started_unix_seconds": time.time(),
    "git": {"commit": commit, "branch": None, "dirty": False}, "versions": {"jax": "0.10.2"},
    "hardware": {"platform": settings.get("platform", "tpu"), "device_kind": "TPU v5e", "device_count": 1},
    "data": {"fingerprint": {"x": 1}}, "tokens_per_step": 64, "launches": [{"started_unix_seconds": time.time()}]}))
start, end = (0, 40)
if resumed:
    start = sum('"step"' in line for line in open(run / "metrics.jsonl"))
with open(run / "metrics.jsonl", "a") as file:
    if not resumed:
        file.write(json.dumps({"schema": "axl_exp.metrics/1", "config": flags["config"]}) + "\\n")
    for step in range(start + 1, end + 1):
        loss = 5 - step * settings["rate"] * (1 if step > 1 else 0)
        loss += settings.get("forgets", 0.0) * resumed
        file.write(json.dumps({"step": step, "train/loss": loss, "train/num_targets": 64,
            "perf/step_seconds": settings["seconds"] * (1 + 0.001 * (step % 3)),
            "perf/tokens_per_second": 64 / settings["seconds"],
            "time/class": "compile" if step == 1 else "steady"}) + "\\n")
        file.flush()
        time.sleep(pace)
        if stopping:
            break
status = "stopped" if stopping else "finished"
(run / "summary.json").write_text(json.dumps({"status": status, "peak_memory_bytes": 1000}))
print("done")
"""

SUITES = """
from axl_exp.suite.definition import Case, Suite
def named_trainer_configs(): return {}
def named_suites():
    return (Suite("toy", (Case("plain", "toy"), Case("drop", "toy", overrides=("dropout=0.1",)))),
            Suite("one", (Case("plain", "toy"),)),
            Suite("resume", (Case("whole", "toy"),
                             Case("stopped", "toy", interrupt_at_step=10, losses_of="whole"))))
"""

Commit = Callable[..., str]


def git(path: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=path, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository, empty but for the stub; the working directory is in it."""
    path = tmp_path / "repository"
    (path / "axl_exp" / "launch").mkdir(parents=True)
    (path / "axl_exp" / "__init__.py").write_text("")
    (path / "axl_exp" / "launch" / "__init__.py").write_text("")
    (path / "axl_exp" / "launch" / "__main__.py").write_text(LAUNCH)
    git(path, "init", "-q", "-b", "main")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "a stub")
    (path / ".gitignore").write_text("runs/\n")
    (tmp_path / "toy_suites.py").write_text(SUITES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(path)
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path / "home"))
    return path


@pytest.fixture
def commit(repository: Path) -> Commit:
    def make(message: str = "settings", **settings: Any) -> str:
        """Commit these settings and return the hash."""
        told = {"rate": 0.01, "seconds": 0.2, **settings}
        (repository / "settings.json").write_text(json.dumps(told))
        git(repository, "add", ".")
        git(repository, "commit", "-q", "--allow-empty", "-m", message)
        return git(repository, "rev-parse", "HEAD")

    return make


def package_path() -> str:
    """Return where this package is imported from, for a subprocess beside the stub's.

    No empty entry: it would mean the working directory, where the stub is.
    """
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
