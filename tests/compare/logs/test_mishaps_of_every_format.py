"""What happens to logs on their way changes no number, in every format that is not MaxText."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from axl_exp.compare.logs.as_run import metrics_of
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.read import parse_log

NUM_STEPS = 12


def megatron(step: int) -> str:
    return (
        f" [2025-06-28 18:42:{2 * step:02}] iteration {step:8d}/      12 | consumed samples: "
        f"{16 * step:12d} | elapsed time per iteration (ms): {1990 + step}.1 | learning rate: "
        f"6.000000E-06 | global batch size:    16 | lm loss: {11 - step / 100:.6E} | "
        f"loss scale: 1.0 | grad norm: {step / 7:.3f} | number of skipped iterations:   0 | "
        "number of nan iterations:   0 |"
    )


def torchtitan(step: int) -> str:
    return (
        f"[titan] 2025-06-28 18:42:{2 * step:02},123 - root - INFO - step: {step:2}  "
        f"loss: {11 - step / 100:8.5f}  grad_norm: {step / 7:7.4f}  memory: 47.33GiB(49.80%)  "
        f"tps: {7_000 + step:,}  tflops: {400 + step:,.2f}  mfu: 41.00%"
    )


def axlearn(step: int) -> str:
    return (
        f"I0628 18:42:{2 * step:02}.123456 140 trainer.py:595] Trainer process 0 step {step}] "
        f"loss={11 - step / 100} aux={{'gradient_norm': {step / 7}}}"
    )


def hugging_face(step: int) -> str:
    return (
        f" 10%|##   | {step}/12 [00:41<06:09,  2.43it/s] {{'loss': {11 - step / 100}, 'grad_norm': "
        f"{step / 7}, 'learning_rate': 4.97e-05, 'epoch': {step / 12:.2f}}}"
    )


FORMATS: dict[str, Callable[[int], str]] = {
    "Megatron-LM": megatron,
    "torchtitan": torchtitan,
    "AXLearn": axlearn,
    "Hugging Face Trainer": hugging_face,
}
MISHAPS: dict[str, Callable[[str], str]] = {
    "folded": lambda text: text.replace("\n", " "),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "cr": lambda text: text.replace("\n", "\r"),
    "ansi": lambda text: "".join(f"\x1b[38;2;1;2;3m{line}\x1b[0m\n" for line in text.split("\n")),
    "ansi in numbers": lambda text: text.replace("0", "\x1b[32m0\x1b[0m"),
    "labelled": lambda text: "".join(f"3: {line}\n" for line in text.split("\n")),
    "rank labels": lambda text: "".join(f"[rank0]:{line}\n" for line in text.split("\n")),
    "hosts": lambda text: "".join(f"{k}: {line}\n" for line in text.split("\n") for k in (0, 1)),
    "repeated": lambda text: "\n".join(line for line in text.split("\n") for _ in (0, 1)),
    "cut tail": lambda text: text + text.split("\n")[0].replace(" 1", "13", 1)[:40],
    "restart": lambda text: "\n".join([*text.split("\n")[:8], *text.split("\n")[4:]]),
    "comments": lambda text: "".join(f"# {line}\n" for line in text.split("\n")),
}  # fmt: skip


def columns(text: str) -> tuple[Log, dict[str, np.ndarray]]:
    log = parse_log(text.encode(), path=Path("x.log"))
    numbers = metrics_of(log).numbers
    return log, {k: numbers[k].values for k in ("train/loss", "train/gradient_norm")}


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("trainer", FORMATS)
def test_a_mishap_changes_no_number(trainer: str, mishap: str):
    text = "\n".join(FORMATS[trainer](step) for step in range(1, NUM_STEPS + 1))
    log, expected = columns(text)
    assert log.format == trainer
    assert len(expected["train/loss"]) == NUM_STEPS
    mended, found = columns(MISHAPS[mishap](text))
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values, key)
    told = [*mended.repairs, *mended.notes, *mended.column_notes]
    untold = ("folded", "cut tail")  # Line ends play no part in reading records.
    assert mishap in untold or len(told) > len([*log.repairs, *log.notes, *log.column_notes])
