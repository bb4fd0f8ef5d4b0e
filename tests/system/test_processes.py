"""Two real processes on one machine: the run of one process with as many devices."""

import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axl_exp.run.metrics_reader import read_metrics
from tests.system.conftest import REPOSITORY, SMALL, losses

THIS_MACHINE = str(ipaddress.IPv4Address(socket.INADDR_LOOPBACK))
TWO = tuple(f.replace("cpu-1", "cpu-2") for f in SMALL[:-1]) + ("--config.max_step=8",)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((THIS_MACHINE, 0))
        return listener.getsockname()[1]


def by_hand(index: int, port: int) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": f"{THIS_MACHINE}:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(index),
    }


def by_slurm(index: int, port: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_NODELIST": THIS_MACHINE,
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_STEP_NUM_NODES": "1",
        "JAX_COORDINATOR_PORT": str(port),
    }


def start_two(*flags: str, cwd: Path, variables=by_hand, own_flags=((), ())):
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-m", "axl_exp.launch", *flags, *own_flags[index]],
            cwd=cwd,
            env={
                **os.environ,
                **variables(index, port),
                "PYTHONPATH": str(REPOSITORY),
                "AXL_EXP_JOIN_TIMEOUT_SECONDS": "120",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def ended(processes):
    """Wait for both; return (exit code, stdout, stderr) of each."""
    said = [process.communicate(timeout=240) for process in processes]
    return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run of one process with two devices."""
    path = tmp_path_factory.mktemp("one")
    command = [sys.executable, "-m", "axl_exp.launch", *TWO, "--run_dir=run"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, cwd=path, env=environment, check=True, capture_output=True)
    return path / "run"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two processes with one device each."""
    path = tmp_path_factory.mktemp("two")
    results = ended(start_two(*TWO, "--run_dir=run", cwd=path))
    assert [code for code, _, _ in results] == [0, 0], results
    return path / "run", results


def evals(run_dir: Path) -> list[float]:
    return read_metrics(run_dir / "metrics.jsonl").numbers["eval/validation/loss"].values.tolist()


def back_at_step_4(run_dir: Path, target: Path) -> None:
    """Copy a run as it would be if it had been killed between its saves at 4 and at 8."""
    shutil.copytree(run_dir, target)
    shutil.rmtree(target / "checkpoints" / "8")
    (target / "checkpoints" / "manifests" / "8.json").unlink()
    (target / "summary.json").unlink()


def test_two_processes_train_evaluate_and_write_what_one_does(one, two):
    run_dir, results = two
    assert losses(run_dir) == losses(one)
    assert evals(run_dir) == evals(one)
    assert (run_dir / "config.txt").read_text() == (one / "config.txt").read_text()
    names = {p.name for p in run_dir.iterdir()}
    assert names == {p.name for p in one.iterdir()} | {"log-process-1.txt"}
    assert len(list((run_dir / "tensorboard").iterdir())) == 1
    assert "step 8/8" in results[0][1]
    said = [line for line in results[1][1].splitlines() if not line.startswith("[Gloo]")]
    assert said == []
    hardware = json.loads((run_dir / "env.json").read_text())["hardware"]
    assert (hardware["process_count"], hardware["device_count"]) == (2, 2)


def test_what_two_processes_began_one_finishes_with_the_same_losses(one, two, launch, tmp_path):
    back_at_step_4(two[0], tmp_path / "run")
    done = launch(*TWO, "--run_dir=run")
    assert done.returncode == 0, done.stderr
    assert "resuming after step 4" in done.stdout
    assert losses(tmp_path / "run") == losses(one)
    assert evals(tmp_path / "run") == evals(one)


@pytest.mark.slow  # Positions of data on 1, 2 and 4 processes: tests/data/test_positions.py.
@pytest.mark.parametrize("variables", [by_hand, by_slurm])
def test_what_one_process_began_two_finish_with_the_same_losses(one, tmp_path, variables):
    back_at_step_4(one, tmp_path / "run")
    results = ended(start_two(*TWO, "--run_dir=run", cwd=tmp_path, variables=variables))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "resuming after step 4" in results[0][1]
    assert losses(tmp_path / "run") == losses(one)
    assert evals(tmp_path / "run") == evals(one)


def wait_for_step(step: int, run_dir: Path, processes) -> None:
    metrics = run_dir / "metrics.jsonl"
    while not (metrics.exists() and f'"step": {step},' in metrics.read_text()):
        assert all(process.poll() is None for process in processes), ended(processes)
        time.sleep(0.05)


@pytest.mark.slow  # Without processes: tests/train/test_agree.py.
def test_a_signal_to_either_process_saves_and_stops_both_after_the_same_step(tmp_path):
    processes = start_two(*TWO[:-1], "--config.max_step=100000", "--run_dir=run", cwd=tmp_path)
    wait_for_step(5, tmp_path / "run", processes)
    processes[1].send_signal(signal.SIGTERM)
    results = ended(processes)
    assert [code for code, _, _ in results] == [143, 143], results
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["saved_step"] == summary["step"]
    assert (tmp_path / "run" / "checkpoints" / str(summary["step"])).is_dir()


@pytest.mark.slow  # Without training: tests/train/test_agree.py.
def test_processes_with_other_configs_are_refused_with_the_difference(tmp_path):
    own_flags = (["--config.seed=1"], ["--config.seed=2"])
    results = ended(start_two(*TWO, "--run_dir=run", cwd=tmp_path, own_flags=own_flags))
    for code, _, err in results:
        assert code == 2
        assert "process 1 has another config than process 0: seed: 2 instead of seed: 1." in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_process_that_is_killed_takes_the_other_with_it(tmp_path):
    processes = start_two(*TWO[:-1], "--config.max_step=100000", "--run_dir=run", cwd=tmp_path)
    wait_for_step(3, tmp_path / "run", processes)
    processes[1].kill()
    (code, _, _), _ = ended(processes)
    assert code != 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
