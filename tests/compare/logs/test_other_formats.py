"""Megatron-LM, torchtitan and AXLearn: every field under one name, and what they leave out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.logs.as_run import config_of, metrics_of
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.read import parse_log, read_log
from axl_exp.run.metrics_reader import Metrics

from .conftest import SEEDS, needs_seeds

MEGATRON = SEEDS / "megatron_pipeline.txt"


def read(text: str) -> tuple[Log, Metrics]:
    log = parse_log(text.encode(), path=Path("some.log"))
    return log, metrics_of(log)


def values(metrics: Metrics, key: str) -> dict[int, float]:
    series = metrics.numbers[key]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


@needs_seeds
def test_megatron_arguments_memory_timers_and_trace_are_all_read():
    log = read_log(MEGATRON)
    lines = MEGATRON.read_text().split("\n")
    begin, end = (i for i, line in enumerate(lines) if "arguments ----" in line)
    assert len(log.arguments) == end - begin - 1
    assert (log.arguments["config_logger_dir"], log.arguments["cp_comm_type"]) == ("", "['p2p']")
    assert len(log.memory) == 8 * 4 + 1
    assert len(log.timers) == 3
    assert len(log.trace) == len(re.findall(r" tensor \d", MEGATRON.read_text()))
    assert log.trace[0] == (6, "forward", "start", 0)
    assert (log.repairs, log.num_not_understood) == ([], 0)


@needs_seeds
def test_megatron_iteration_line_is_read_whole():
    _, metrics = read(MEGATRON.read_text())
    assert {key: values(metrics, key)[1] for key in metrics.numbers if "perf" not in key} == {
        "printed/seconds": 4.4932,
        "train/consumed_samples": 16,
        "train/global_batch_size": 16,
        "train/learning_rate": 0,
        "train/loss_scale": 4294967296,
        "train/num_nan_iterations": 0,
        "train/num_skipped_iterations": 1,
    }


@needs_seeds
def test_megatron_sizes_follow_from_its_arguments():
    notes = read_log(MEGATRON).notes
    assert "parameters per rank are those that follow from the arguments, on all 8" in notes
    assert "theoretical memory is what follows from the arguments: 2614.79 MiB" in notes


@needs_seeds
def test_megatron_sizes_that_do_not_follow_are_named():
    text = MEGATRON.read_text().replace("rank (1, 2): 100741120", "rank (1, 2): 100741121")
    told = "parameters per rank do not follow from the arguments: rank (1, 2) has 100,741,121"
    assert any(told in note for note in read(text)[0].notes)


@needs_seeds
def test_megatron_folded_into_one_line_is_the_same():
    log, metrics = read(MEGATRON.read_text().replace("\n", " "))
    expected, _ = read(MEGATRON.read_text())
    assert config_of(log) == config_of(expected)
    assert log.trace == expected.trace
    assert values(metrics, "printed/seconds") == {1: 4.4932}


ITERATION = (
    " [2025-06-28 18:42:{at:02}] iteration {step:8d}/ 115311 | consumed samples: {step:12d} |"
    " elapsed time per iteration (ms): {ms} | throughput per GPU (TFLOP/s/GPU): 400.1 |"
    " learning rate: 1.500000E-04 | global batch size:    16 |{loss} loss scale: 1.0 |"
    " grad norm: 1.234 | number of skipped iterations:   0 | number of nan iterations:   0 |\n"
)


def megatron(num_steps: int = 5) -> str:
    return "".join(
        ITERATION.format(step=k, at=k, ms=500.5, loss=f" lm loss: {11 - k / 8:.6E} |")
        for k in range(1, num_steps + 1)
    )


def test_megatron_fields_have_our_names_and_units():
    log, metrics = read(megatron())
    assert values(metrics, "train/loss")[2] == 10.75
    assert values(metrics, "perf/step_seconds")[3] == 0.5005
    assert values(metrics, "perf/tflops_per_device")[3] == 400.1
    assert log.rows.quanta["train/loss"] == pytest.approx(1e-5)
    # The second line averages the first two iterations.
    classes = metrics.labels["time/class"].values.tolist()
    assert classes == ["compile", "compile", *3 * ["steady"]]


def test_megatron_loss_that_is_left_out_is_missing_not_zero():
    text = megatron(3) + ITERATION.format(step=4, at=4, ms="503.2/549.8", loss="")
    _, metrics = read(text)
    assert 4 not in values(metrics, "train/loss")
    assert values(metrics, "train/gradient_norm")[4] == 1.234
    assert values(metrics, "perf/step_seconds")[4] == 0.5032


def test_megatron_two_records_on_one_line_are_two():
    _, metrics = read(megatron().replace("|\n", "|"))
    assert sorted(values(metrics, "train/loss")) == [1, 2, 3, 4, 5]


TITAN = (
    "[rank0]:[titan] 2025-06-10 14:00:{at:02},100 - root - INFO - \x1b[31mstep: {step:2}  "
    "\x1b[32mloss: {loss:8.5f}  \x1b[38;2;180;60;0mgrad_norm:  1.5330  \x1b[36mmemory:  1.21GiB"
    "(1.53%)  \x1b[34mtps: 1,234,567  \x1b[36mtflops: 1,000.46  \x1b[35mmfu: {mfu}\x1b[39m\n"
)


def test_torchtitan_fields_through_colours_and_separators():
    text = "".join(TITAN.format(step=k, at=2 * k, loss=8 - k / 8, mfu="49.20%") for k in (1, 2, 3))
    text += TITAN.format(step=4, at=8, loss=7.5, mfu="N/A")
    _, metrics = read(text)
    assert values(metrics, "train/loss") == {1: 7.875, 2: 7.75, 3: 7.625, 4: 7.5}
    assert values(metrics, "perf/tokens_per_second")[1] == 1_234_567
    assert values(metrics, "perf/tflops_per_device")[4] == 1000.46
    assert values(metrics, "perf/mfu") == pytest.approx({1: 0.492, 2: 0.492, 3: 0.492})
    assert values(metrics, "perf/step_seconds") == {2: 2.0, 3: 2.0, 4: 2.0}


AXLEARN = "I0724 01:0{minute}:03.123456 140 trainer.py:400] SpmdTrainer process   0 step {step:8}] "


def test_axlearn_losses_and_average_step_times_of_one_step_stand_together():
    text = AXLEARN.format(minute=0, step=0) + "loss=10.5 aux={'perplexity': 36315.5}\n"
    for minute, step in ((1, 100), (2, 200)):
        text += (
            AXLEARN.format(minute=minute, step=step) + "loss=Array(8.25, dtype=float32) aux={}\n"
        )
        text += AXLEARN.format(minute=minute, step=step) + "Average step time: 0.6 seconds\n"
    _, metrics = read(text)
    assert values(metrics, "train/loss") == {0: 10.5, 100: 8.25, 200: 8.25}
    assert values(metrics, "perf/step_seconds") == {100: 0.6, 200: 0.6}


def test_an_address_is_no_tokens_per_second():
    log, _ = read(megatron() + "see https: 3 and step:4 for more\n")
    assert log.num_not_understood == 0


def test_what_came_of_two_runs_confounds_neither(tmp_path, capsys):
    paths = [tmp_path / name for name in ("a", "b")]
    for hour, path in enumerate(paths):
        at = f"datetime: 2025-06-28 {hour:02}:41:00"
        path.write_text(
            f"[before the start of training step] {at}\n{megatron(30)}"
            f"[after training is done] {at}\n"
            "[Rank 0] (after 1 iterations) memory (GB) | mem-allocated-gigabytes: 51.5 | "
            f"mem-allocated-count: 57{hour}\n"
        )
    assert main(list(map(str, paths))) == 0
    told = capsys.readouterr().out
    assert "confound" not in told and "identical as printed" in told
    assert read_log(paths[0]).results["allocator"] == {"mem-allocated-count": "570"}
