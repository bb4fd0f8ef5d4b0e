"""What happens to logs on their way changes no number, in every format that is not MaxText."""

from __future__ import annotations

import html
import json
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


def nemo(step: int) -> str:
    return (
        f"Training epoch 0, iteration {step}/99 | lr: 1e-06 | global_step: {step} | "
        f"reduced_train_loss: {11 - step / 100} | train_step_timing in s: 2.5 | grad_norm: "
        f"{step / 7:.4} | consumed_samples: {16 * step}"
    )


FORMATS: dict[str, Callable[[int], str]] = {
    "Megatron-LM": megatron,
    "torchtitan": torchtitan,
    "AXLearn": axlearn,
    "Hugging Face Trainer": hugging_face,
    "NeMo": nemo,
}


def each(form: str) -> Callable[[str], str]:
    """Return what puts every line of a text into `form`, where `{n}` is its number."""
    return lambda text: "".join(
        form.format(n=n, line=line) + "\n" for n, line in enumerate(text.split("\n"), start=1)
    )


def in_array(text: str) -> str:
    """Return an export of a collector: newest first, as it shows them."""
    lines = list(enumerate(text.split("\n")))[::-1]
    entries = [
        {"jsonPayload": {"message": line}, "timestamp": f"2026-01-01T00:00:{n:02}.5Z"}
        for n, line in lines
    ]
    return json.dumps(entries, indent=2)


STAMP = "2026-01-01T00:00:{n:02}.123456789Z "
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
    "kubectl": each("[pod/mt-slice-0-0-abcde/jax-tpu-0] " + STAMP + "{line}"),
    "container runtime": each(STAMP + "stderr F {line}"),
    "docker": lambda text: "".join(
        json.dumps({"log": line + "\n", "stream": "stderr"}) + "\n" for line in text.split("\n")
    ),
    "array": in_array,
    "table": each('2026-01-01T00:00:00Z,"{line}"'),
    "page": lambda text: f"<pre>{html.escape(text)}</pre>\n",
    "names of nodes": each("node-1: {line}"),
    "compose": each("worker-0  | {line}"),
    "line numbers": each("{n}: {line}"),
    "found by grep": each("logs/run.out:{n}:{line}"),
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
    # Line ends, and what stands in front of a record, play no part in reading records.
    untold = ("folded", "cut tail", "kubectl", "container runtime", "table", "page", "compose")
    untold = (*untold, "names of nodes", "found by grep")
    assert mishap in untold or len(told) > len([*log.repairs, *log.notes, *log.column_notes])
