"""Hugging Face Trainer's dicts, DeepSpeed's lines, and two logs in one word-diff."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.logs.as_run import metrics_of
from axl_exp.compare.logs.jsonl import read_any_metrics
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.read import parse_log
from axl_exp.run.metrics_reader import Metrics


def read(text: str) -> tuple[Log, Metrics]:
    log = parse_log(text.encode(), path=Path("some.log"))
    return log, metrics_of(log)


def values(metrics: Metrics, key: str) -> dict[int, float]:
    series = metrics.numbers[key]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def trainer(num: int = 4, *, bar: bool = True, quote: str = "") -> str:
    text = ""
    for k in range(1, num + 1):
        text += f"\r {10 * k}%|##   | {10 * k}/100 [00:41<06:09,  2.43it/s]" if bar else ""
        loss, rate = f"{quote}{3 - k / 4}{quote}", f"{quote}5e-05{quote}"
        text += f"\n{{'loss': {loss}, 'grad_norm': {quote}1.25{quote}, 'learning_rate': {rate}, "
        text += f"'epoch': {quote}0.{k}{quote}}}\n"
    return text


@pytest.mark.parametrize("quote", ["", "'"])  # Of version 5: values are texts.
def test_trainer_dicts_have_the_steps_of_the_progress_bar(quote: str):
    log, metrics = read(trainer(quote=quote))
    assert log.format == "Hugging Face Trainer"
    assert values(metrics, "train/loss") == {10: 2.75, 20: 2.5, 30: 2.25, 40: 2.0}
    assert values(metrics, "train/learning_rate")[10] == 5e-05
    assert values(metrics, "train/gradient_norm")[40] == 1.25
    assert log.num_not_understood == 0


def test_trainer_dicts_without_a_bar_are_counted_and_that_is_said():
    log, metrics = read(trainer(bar=False))
    assert sorted(values(metrics, "train/loss")) == [1, 2, 3, 4]
    assert any("4 of its records tell no step" in note for note in log.notes)
    folded, _ = read(trainer(bar=False).replace("\n", " "))
    assert len(folded.rows) == 4


def test_trainer_evaluations_stand_at_the_step_before_them_whatever_their_own_bar_says():
    text = trainer(2)
    text += "100%|####| 7/7 [00:01<00:00]\n{'eval_loss': 2.4, 'eval_runtime': 3.1, 'epoch': 0.2}\n"
    text += "{'train_runtime': 12.5, 'train_loss': 2.6, 'epoch': 0.2}\n"
    log, metrics = read(text)
    assert values(metrics, "eval/validation/loss") == {20: 2.4}
    assert log.has_ended
    assert log.results["summary"] == {"train_runtime": 12.5, "train_loss": 2.6}


def test_a_loss_of_zero_beside_a_gradient_norm_of_nan_is_nan():
    text = trainer(2) + "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 4e-05, 'epoch': 0.3}\n"
    log, metrics = read(text + "{'loss': 0.0, 'grad_norm': 0.5, 'epoch': 0.4}\n")
    losses = list(values(metrics, "train/loss").values())
    assert math.isnan(losses[2]) and losses[3] == 0
    assert any("are read as NaN" in note for note in log.notes)


def test_values_without_zeros_at_their_end_have_the_print_quantum_of_the_finest():
    log, _ = read("".join(f"{{'loss': {v}, 'epoch': {v}}}\n" for v in (2.5, 2.4375, 2.4)))
    assert log.rows.quanta["train/loss"] == pytest.approx(1e-4)


def test_json_lines_of_bare_names_are_a_run(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"step": {k}, "loss": {9 - k / 8}, "lr": 0.5}}\n' for k in range(3)))
    metrics = read_any_metrics(path)
    assert values(metrics, "train/loss") == {0: 9.0, 1: 8.875, 2: 8.75}
    assert values(metrics, "train/learning_rate")[2] == 0.5


def test_deepspeeds_lines_of_one_step_stand_together():
    text = "".join(
        f"[2023-06-01 12:00:0{k},1] [INFO] [logging.py:96:log_dist] [Rank 0] "
        f"step={10 * k}, skipped=1, lr=[6e-06, 6e-06], "
        "mom=[(0.9, 0.95), (0.9, 0.95)]\n"
        f"[2023-06-01 12:00:0{k},2] [INFO] [timer.py:199:stop] epoch=0/micro_step={10 * k}/"
        f"global_step={10 * k}, RunningAvgSamplesPerSec=61.5, CurrSamplesPerSec=62.25, "
        "MemAllocated=4.5GB, MaxMemAllocated=20.25GB\n"
        f"steps: {10 * k} loss: {9 - k / 8:.4f} iter time (s): 0.523 samples/sec: 61.200\n"
        for k in (1, 2, 3)
    )
    log, metrics = read(text)
    assert log.format == "DeepSpeed"
    assert values(metrics, "train/loss") == {10: 8.875, 20: 8.75, 30: 8.625}
    assert values(metrics, "train/learning_rate")[20] == 6e-06
    assert values(metrics, "perf/step_seconds")[30] == 0.523
    assert values(metrics, "perf/peak_memory_gib")[10] == 20.25


def test_deepspeeds_skipped_steps_are_told_in_a_log_of_megatron():
    line = (
        " iteration {:8d}/ 100 | consumed samples: 16 | consumed tokens: 32768 | elapsed time per "
    )
    line += (
        "iteration (s): 0.35 | learning rate: 1.0E-04 | global batch size: 16 | lm loss: 9.5E+00 | "
    )
    line += (
        "loss scale: 65536.0 | grad norm: 1.5 | actual seqlen: 2048 | samples per second: 45.7 | "
    )
    line += "tokens per gpu per second (tgs): 11,702.5 | TFLOPs: 12.34 |\n"
    skip = "[deepspeed] OVERFLOW! Rank {} Skipping step. Attempted loss scale: 131072, "
    skip += "reducing to 65536\n"
    log, metrics = read(line.format(1) + skip.format(0) + skip.format(1) + line.format(2))
    assert log.format == "Megatron-LM"
    assert values(metrics, "perf/step_seconds") == {1: 0.35, 2: 0.35}
    assert values(metrics, "perf/tflops_per_device")[2] == 12.34
    assert values(metrics, "printed/tokens_per_second_per_device")[1] == 11702.5
    assert any(note.startswith("1 steps were skipped because") for note in log.notes)


@pytest.mark.parametrize(
    "change",
    [
        "[-{}-]{{+{}+}}",
        "\x1b[31m{}\x1b[m\x1b[32m{}\x1b[m",
        "\x1b[31m[-{}-]\x1b[m\x1b[32m{{+{}+}}\x1b[m",
    ],
)
def test_a_word_diff_of_two_logs_is_both_sides(change: str, maxtext, tmp_path, capsys):
    old, new = maxtext(), maxtext(loss=lambda step: 10.25 - 0.1 * step)
    lines = [
        " ".join(
            a if a == b else change.format(a, b)
            for a, b in zip(x.split(" "), y.split(" "), strict=True)
        )
        for x, y in zip(old.split("\n"), new.split("\n"), strict=True)
    ]
    page = tmp_path / "diff.txt"
    page.write_text("\n".join(lines))
    for name, text in (("old", old), ("new", new)):
        expected = metrics_of(parse_log(text.encode(), path=page)).numbers["train/loss"].values
        (tmp_path / name).write_text(text)
        main([f"{page}#{name}", str(tmp_path / name), "--json"])
        assert '"identical": true' in capsys.readouterr().out
        assert len(np.unique(expected)) > 3
    assert main([str(page)]) in (0, 3)
    out = capsys.readouterr().out
    assert out.startswith("▲ better") and "word-diff taken apart" in out
