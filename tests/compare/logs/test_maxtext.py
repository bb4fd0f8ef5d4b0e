"""MaxText's logs: every field, true step times, and the same result after any mishap."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from axl_exp.compare.logs.as_run import config_of, env_of, metrics_of
from axl_exp.compare.logs.log import Log, LogError
from axl_exp.compare.logs.read import parse_log
from axl_exp.run.metrics_reader import Metrics

from .conftest import TAIL, loss_at, maxtext_line

KEYS = ("train/loss", "train/perplexity", "printed/seconds", "perf/step_seconds")


def read(text: str | bytes) -> tuple[Log, Metrics]:
    raw = text.encode() if isinstance(text, str) else text
    log = parse_log(raw, path=Path("maxtext.log"))
    return log, metrics_of(log)


def same(found: Metrics, expected: Metrics, keys: tuple[str, ...] = KEYS) -> bool:
    return all(
        np.array_equal(found.numbers[key].steps, expected.numbers[key].steps)
        and np.array_equal(found.numbers[key].values, expected.numbers[key].values)
        for key in keys
    )


def test_every_field_of_a_step_line_is_read(maxtext):
    log, metrics = read(maxtext())
    numbers = metrics.numbers
    assert numbers["train/loss"].steps.tolist() == list(range(20))
    assert numbers["train/loss"].values.tolist() == [round(loss_at(k), 3) for k in range(20)]
    assert numbers["train/perplexity"].values[3] == round(math.exp(loss_at(3)), 3)
    assert numbers["train/num_targets"].values[0] == 65536
    assert numbers["printed/seconds"].values[:2].tolist() == [15.2, 0.25]
    assert log.rows.quanta["train/loss"] == pytest.approx(0.001)
    assert log.num_not_understood == 0


def test_the_head_is_read(maxtext):
    log, _ = read(maxtext())
    env = env_of(log)
    assert env["versions"] == {
        "jax": "0.9.2",
        "jaxlib": "0.9.2",
        "libtpu": "built Mar 4 2026 11:32:08 (1772652728) cl/878335365",
    }
    assert env["hardware"] == {
        "device_kind": "TPU v6 lite",
        "platform": "tpu",
        "device_count": 32,
    }
    assert (env["mesh"], env["num_parameters"]) == ("fsdp: 32", "1.104 billion")
    assert env["tokens_per_step"] == 65536


def test_step_times_are_those_of_the_timestamps(maxtext):
    text = maxtext(step_seconds=0.25).replace("seconds: 0.250", "seconds: 0.006")
    _, metrics = read(text)
    times = metrics.numbers["perf/step_seconds"]
    assert times.values[1:] == pytest.approx(np.full(19, 0.25))
    assert metrics.labels["time/class"].values.tolist() == ["compile"] + 19 * ["steady"]


def test_a_line_that_came_late_and_the_one_behind_it_are_no_steady_steps():
    at = [0, 0.25, 0.5, 0.75, 1.24, 1.25, 1.5, 1.75]
    text = "\n".join(maxtext_line(k, at=t, seconds=0.25, loss=loss_at(k)) for k, t in enumerate(at))
    _, metrics = read(text)
    classes = metrics.labels["time/class"].values.tolist()
    assert classes == ["compile", *3 * ["steady"], "catch-up", "catch-up", "steady", "steady"]


def test_the_step_with_a_save_in_it_is_a_checkpoint_and_a_pause_without_one_a_stall():
    save = "I0420 15:50:01.9 1319 async_checkpointer.py:561] Finished blocking save."
    lines = [
        maxtext_line(k, at=t, seconds=0.25, loss=loss_at(k))
        for k, t in enumerate([0, 0.25, 0.5, 0.75, 9, 9.25, 30, 30.25])
    ]
    lines.insert(4, f"{save} Time taken: 7.5s. Continuing background save to gs://b/3.")
    _, metrics = read("\n".join(lines))
    classes = metrics.labels["time/class"].values.tolist()
    assert classes[4:] == ["checkpoint", "steady", "stall", "steady"]
    assert metrics.numbers["time/blocking_save_seconds"].values[4] == 7.5


# -- The same log after a mishap ------------------------------------------------------------------


def folded(text: str) -> str:
    return " ".join(text.split("\n"))


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def old_mac(text: str) -> str:
    return text.replace("\n", "\r")


def coloured(text: str) -> str:
    return text.replace("loss: ", "loss: \x1b[38;2;1;2;3m").replace(".", "\x1b[0m.")


def labelled(text: str) -> str:
    return "\n".join(f"0: {line}" for line in text.split("\n"))


def by_torchrun(text: str) -> str:
    return "\n".join(f"[default3]:{line}" for line in text.split("\n"))


def wrapped(text: str) -> str:
    return "\n".join(
        line[i : i + 80] for line in text.split("\n") for i in range(0, len(line) or 1, 80)
    )


def cut_by_srun(text: str) -> str:
    lines = []
    for number, line in enumerate(text.split("\n")):
        at = 20 + 37 * number % 190
        pieces = [line] if "completed" not in line else [line[:at], line[at:]]
        lines += [f"0: {piece}" for piece in pieces if piece]
    return "\n".join(lines)


def notebook(text: str) -> str:
    cell = {"outputs": [{"text": [line + "\n" for line in text.split("\n")]}]}
    return json.dumps({"cells": [cell], "nbformat": 4}, indent=1)


def json_lines(text: str) -> str:
    return "\n".join(json.dumps({"log": line + "\n"}) for line in text.split("\n"))


def cut_tail(text: str) -> str:
    return text.removesuffix(TAIL) + maxtext_line(20, at=9, seconds=0.2, loss=1)[:70]


MISHAPS = {
    folded: "",
    crlf: "CRLF line ends: ",
    old_mac: "carriage returns read as line ends: ",
    coloured: "terminal escape codes removed: ",
    labelled: "labels of ranks or hosts taken off: ",
    by_torchrun: "labels of ranks or hosts taken off: ",
    wrapped: "cut lines joined: ",
    cut_by_srun: "cut lines joined: ",
    notebook: "notebook unpacked: 1",
    json_lines: "JSON strings unpacked: ",
}


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__)
def test_a_mishap_changes_no_number_and_is_told(maxtext, mishap):
    text = maxtext()
    log, metrics = read(mishap(text))
    assert same(metrics, read(text)[1])
    assert any(MISHAPS[mishap] in repair for repair in log.repairs) or not MISHAPS[mishap]


def test_a_torn_tail_loses_no_whole_step(maxtext):
    log, metrics = read(cut_tail(maxtext()))
    assert metrics.numbers["train/loss"].steps.tolist() == list(range(20))


def test_steps_trained_again_count_once_and_are_told(maxtext):
    text = maxtext(steps=[*range(12), *range(8, 20)])
    log, metrics = read(text)
    assert metrics.numbers["train/loss"].steps.tolist() == list(range(20))
    assert any(
        "the step goes back 1 times (to 8)" in note for note in (*log.notes, *log.column_notes)
    )
    assert metrics.labels["time/class"].values[8] == "restart"


def test_of_several_hosts_one_counts_and_agreement_is_told(maxtext):
    lines = maxtext(head="").split("\n")
    both = [f"{rank}: {line}" for line in lines for rank in (3, 1)]
    log, metrics = read("\n".join(both))
    assert same(metrics, read("\n".join(lines))[1], keys=KEYS[:3])
    assert any("2 hosts or ranks in one file" in note for note in (*log.notes, *log.column_notes))
    assert any(
        "the others print the same losses" in note for note in (*log.notes, *log.column_notes)
    )


# -- What is not a number ---------------------------------------------------------------------


def test_nan_inf_zero_and_missing_are_four_things():
    rest = "TFLOP/s/device: 1.000, total_weights: 8"
    text = "\n".join(
        f"completed step: {step}, seconds: 1.000, {rest}{loss}"
        for step, loss in enumerate([", loss: nan", ", loss: inf", ", loss: 0.000", ""])
    )
    _, metrics = read(text)
    loss = metrics.numbers["train/loss"]
    assert loss.steps.tolist() == [0, 1, 2]
    assert np.isnan(loss.values[0])
    assert loss.values[1:].tolist() == [math.inf, 0.0]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("[Rampup Batch Size Phase], completed step: 3, seconds: 0.5", "printed/seconds", 0.5),
        (
            "completed profiler activation/deactivation step: 3, total_weights: 7e9, loss: 2.5",
            *("train/num_targets", 7e9),
        ),
        ("completed step: 3, live slice count: 2, loss: -1.5", "maxtext/live_slice_count", 2),
        ("completed step: 3, live slice count: 2, loss: -1.5", "train/loss", -1.5),
        ("completed step: 3, moe_lb_loss: 0.012345", "train/moe_load_balance_loss", 0.012345),
        ("completed step: 3, seconds: 1, loss: 2, dpo_loss: 0.5", "maxtext/dpo_loss", 0.5),
        (
            "completed step: 3, Tokens/s/device: 17,318.360, loss: 2",
            *("printed/tokens_per_second_per_device", 17318.36),
        ),
    ],
)
def test_variants_of_the_step_line(line, key, value):
    _, metrics = read(line + "\n")
    assert metrics.numbers[key].values.tolist() == [value]
    assert metrics.numbers[key].steps.tolist() == [3]


@pytest.mark.parametrize(
    "line",
    [
        "Completed eval after train step 4, loss=9.855, perplexity=19054.6, total_weights=75264.0",
        "eval metrics after step: 4, loss=9.855, total_weights=75264.0",
    ],
)
def test_evaluations_of_both_ages(maxtext, line):
    _, metrics = read(maxtext() + line + "\n")
    loss = metrics.numbers["eval/eval/loss"]
    assert (loss.steps.tolist(), loss.values.tolist()) == ([4], [9.855])
    assert metrics.numbers["eval/eval/num_targets"].values.tolist() == [75264]


def test_settings_are_a_config(maxtext):
    text = maxtext(
        head="Config param per_device_batch_size: 1.0\nConfig param quantization: int8\n"
    )
    config = config_of(read(text)[0])
    assert config is not None
    assert config.texts == {"per_device_batch_size": "1.0", "quantization": "int8"}


def test_a_log_that_ended_out_of_memory_is_a_result(maxtext):
    head = maxtext(steps=[])
    log, metrics = read(head + "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm\n")
    assert len(metrics.numbers) == 0
    assert log.failure.startswith("line ")
    assert "RESOURCE_EXHAUSTED: Ran out of memory" in log.failure


def test_metrics_that_were_not_understood_are_counted(maxtext):
    log, _ = read(maxtext() + "epoch 3 val_loss=3.25 after all\n")
    assert log.num_not_understood == 1
    assert log.not_understood[0][1].startswith("val_loss=3.25")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\1\2\3" * 1000, "is binary, not a log"),
        (b"x" * 10_000_000, "is no log that we can read"),
        (b"nothing to see: 3\n" * 10, "is no log that we can read"),
    ],
)
def test_what_is_no_log_is_said_to_be_none(content, told):
    with pytest.raises(LogError, match=told):
        read(content)
