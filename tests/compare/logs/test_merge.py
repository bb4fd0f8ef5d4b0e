"""Several logs of one run: hosts and restarts, told apart and merged; repeats are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from axl_exp.compare.load import load_run
from axl_exp.compare.logs.log import LogError
from axl_exp.compare.logs.merge import merge_logs
from axl_exp.compare.logs.read import parse_log
from axl_exp.compare.pieces import log_files
from axl_exp.compare.sides import Side, Source, choose_sides, load_side
from axl_exp.compare.words import run_facts
from axl_exp.run.layout import RunDir
from axl_exp.run.store import RunStore


def load(*paths: Path):
    return load_side(Side("a", tuple(Source((path,)) for path in paths)))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def whole(maxtext, tmp_path):
    return load(write(tmp_path / "whole.log", maxtext(steps=range(20)))).runs[0]


def test_two_hosts_are_one_run_of_the_first(maxtext, tmp_path, whole):
    head = "I0420 15:49:20.000000 1 jax.py:1] JAX distributed [process={n}] ready\n"
    texts = [head.format(n=n) + maxtext(steps=range(20)) for n in (3, 1)]
    paths = [write(tmp_path / f"host{i}.log", text) for i, text in enumerate(texts)]
    side = load(*paths)
    (run,) = side.runs
    assert run.env["host"] == {"process_index": 1}
    assert run.log is not None
    assert "merged 2 hosts: host1.log counts; host0.log print the same losses" in run.log.notes
    for key, series in whole.metrics.numbers.items():
        np.testing.assert_array_equal(run.metrics.numbers[key].values, series.values, key)


def test_hosts_that_print_other_losses_are_told(maxtext, tmp_path):
    head = "I0420 15:49:20.000000 1 jax.py:1] JAX distributed [process={n}] ready\n"
    texts = [
        head.format(n=n) + maxtext(steps=range(20), loss=lambda step, n=n: 10 - 0.1 * step + n)
        for n in (0, 1)
    ]
    paths = [write(tmp_path / f"host{i}.log", text) for i, text in enumerate(texts)]
    (run,) = load(*paths).runs
    assert run.log is not None
    assert any("print OTHER losses" in note for note in run.log.notes)


def test_a_restart_goes_on_with_its_run_and_voids_what_it_trains_again(maxtext, tmp_path, whole):
    first = write(tmp_path / "first.log", maxtext(steps=range(12)))
    again = maxtext(steps=range(8, 20)).replace("I0420 15:", "I0420 16:")
    second = write(tmp_path / "second.log", again)
    for paths in ((first, second), (second, first)):
        (run,) = load(*paths).runs
        loss = run.metrics.numbers["train/loss"]
        assert loss.steps.tolist() == list(range(20))
        expected = whole.metrics.numbers["train/loss"].values
        np.testing.assert_array_equal(loss.values, expected)
        classes = run.metrics.labels["time/class"]
        assert classes.values[classes.steps == 8] == "restart"
        assert run.log is not None
        told = "merged 2 logs of one run, one after the other: first.log (steps 0-11), "
        assert told + "second.log (steps 8-19)" in run.log.notes


def test_runs_of_their_own_are_repeats(maxtext, tmp_path):
    paths = [
        write(tmp_path / f"{day}.log", maxtext().replace("I0420", f"I04{day}"))
        for day in (20, 21, 22)
    ]
    side = load(*paths)
    assert len(side.runs) == 3
    assert side.notes == ["a: 3 runs are repeats of each other"]


def test_a_plus_and_a_directory_say_that_logs_are_of_one_run(maxtext, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    first = write(folder / "1.log", maxtext(steps=range(10)))
    second = write(folder / "2.log", maxtext(steps=range(10, 20)).replace("I0420", "I0421"))
    assert log_files(folder) == (first, second)
    store = RunStore(tmp_path / "store")
    for name in (f"{first}+{second}", str(folder)):
        (side,) = choose_sides([name], store=store)
        (run,) = load_side(side).runs
        assert len(run.metrics.numbers["train/loss"]) == 20, name


def test_logs_of_two_trainers_are_no_pieces_of_one_run(maxtext, tmp_path):
    line = " [2025-06-28 18:42:27] iteration 1/ 9 | consumed samples: 8 | lm loss: 1.0E+00 |\n"
    logs = [
        parse_log(text.encode(), path=Path(name))
        for name, text in (("a.log", maxtext()), ("b.log", line))
    ]
    with pytest.raises(LogError, match="logs of MaxText and Megatron-LM are no pieces"):
        merge_logs(logs)


def test_a_metrics_file_beside_its_log_tells_what_the_log_rounds(maxtext, tmp_path):
    log, file = tmp_path / "train.log", tmp_path / "metrics.json.txt"
    log.write_text(maxtext(steps=range(20)))
    losses = {step: 8 - step / 7 for step in range(20)}
    file.write_text(
        "".join(json.dumps({"step": k, "learning/loss": v}) + "\n" for k, v in losses.items())
    )
    (side,) = choose_sides([f"{log}+{file}"], store=RunStore(tmp_path / "none"))
    (run,) = load_side(side).runs
    assert run.metrics.numbers["train/loss"].values.tolist() == list(losses.values())
    assert "train/loss" not in run.quanta
    assert "perf/step_seconds" in run.metrics.numbers  # Of the log, which alone tells it.
    assert "merged train.log with the metrics file metrics.json.txt" in run.notes[0]


def test_a_run_is_told_with_its_host_and_the_precision_of_its_losses(maxtext, tmp_path):
    (tmp_path / "a.log").write_text(maxtext())
    (tmp_path / "empty.log").write_text(maxtext(steps=range(0)))
    told = [dict(run_facts(load_run(RunDir(tmp_path / name)))) for name in ("a.log", "empty.log")]
    assert told[0]["losses"] == "printed to 0.001" and told[0]["JAX"] == "0.9.2"
    assert "losses" not in told[1]
