"""Hostile files: a clear message or a correct result, never a traceback, never 0 for nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.compare.__main__ import main
from axl_exp.compare.logs.as_run import metrics_of
from axl_exp.compare.logs.log import LogError
from axl_exp.compare.logs.read import parse_log, read_log
from axl_exp.compare.logs.word_diff import one_side

STEP = b"completed step: 3, seconds: 0.100, loss: 2.125\n"


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"", 2, "is empty"),
        (b"\0" * 5000, 2, "is binary"),
        (bytes(range(1, 256)) * 4000, 2, "is no log that we can read"),
        (STEP + b"x" * 10_000_000, 0, "identical as printed"),
        (STEP.replace(b"3", b"1000000000", 1), 0, "(1000000000-1000000000)"),
        (STEP.replace(b"3", b"9" * 40, 1), 3, "holds no step"),
        (STEP.replace(b"2.125", b"nan"), 0, "identical"),
        (STEP.replace(b"2.125", b"9" * 5000 + b".1"), 0, "identical"),
        (b"Config param x: <b>\x1b]0;title\x07\n" + STEP, 0, "identical as printed"),
        (b"System Information: Jax Version: 0.9.2\n", 3, "holds no step"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_hostile_files(tmp_path, capsys, content, code, told):
    path = tmp_path / "some.log"
    path.write_bytes(content)
    assert main([str(path), str(path)]) == code
    shown = capsys.readouterr()
    assert told in " ".join((shown.out + shown.err).split())
    assert "\x1b]" not in shown.out + shown.err


def test_a_loop_of_links_is_no_run(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    os.symlink(a, b)
    os.symlink(b, a)
    assert main([str(a), str(b)]) == 2
    assert "symbolic link that leads nowhere" in capsys.readouterr().err


_PIECES = st.sampled_from(
    [
        *(STEP, b"completed step: ", b"1", b", loss: ", b"\x1b[31m", b"\r\n", b"\n", b"0: ", b"\0"),
        *(b"iteration 3/ 4 | lm loss: 1.0 |", b"step:  3  loss: 1.5  tps: 1,000", b"MaxView\n"),
        *(
            b"process 0 step 3] loss=1 aux={",
            b"{",
            b'{"log": "',
            b"I0420 15:49:07.593057 1 a.py:1] ",
        ),
        *(
            b"I9999 99:99:99.9 1 a.py:1] ",
            b"[2025-99-99 00:00:00]",
            b"---- arguments ----\n",
            b"e999",
        ),
        *(b"{'loss': ", b"0.0, 'grad_norm': nan", b"}", b" 10%|# | 3/12 [", b"'eval_loss': '1e9'"),
        *(
            b"steps: 3 loss: 1 samples/sec: 2",
            b"step=3, skipped=1, lr=[1, 2]",
            b"OVERFLOW! Rank 0 ",
        ),
        *(
            b"[-1-]{+2+}",
            b"[-",
            b"{+",
            b"\x1b[31m1\x1b[m\x1b[32m2\x1b[m",
            b"Skipping step",
            b"9" * 30,
        ),
        *(
            b"Training epoch 0, iteration 3/4 | ",
            b"global_step: 3 | reduced_train_loss: 1.5",
            b"Epoch 1:   1%|#| 3/9 [0:01<0:02, loss=1, ",
            b"a=2.5]",
        ),
        *(b"Step Time : 2.5s GPU utilization: 20.5MODEL_TFLOP/s/GPU", b'[{"log": "', b"&quot;"),
        *(
            b" hip mem usage/free/total/usage_ratio: 1GB/2GB/3GB/4% |",
            b"samples/sec: 1 | ",
            b" ms |",
        ),
        *(b"time (ms) | a: 1", b" memory (GB) | mem-a-gigabytes: 1", b" Logical: f32[2].. ('a')."),
        *(
            b"Diff = B value. improved\n",
            b"a (1234567) vs b\n",
            b"XPK Start: ",
            b"validation loss at ",
        ),
        *(b"Waited 1e5 seconds for step 3 to finish before starting", b"\xff\xfe", b"  a .. b\n"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES | st.binary(max_size=12), max_size=24).map(b"".join))
def test_no_text_breaks_the_parsers(text):
    for part in {text, one_side(text, "old")}:
        try:
            log = parse_log(part, path=Path("some.log"))
        except LogError:
            continue
        metrics_of(log)


def test_losses_that_are_not_finite_are_said_to_be_so_without_a_warning(tmp_path, capsys, recwarn):
    line = "completed step: {}, seconds: 0.250, loss: {}\n"
    paths = [tmp_path / name for name in ("a", "b")]
    odd = ("nan", "inf", "-inf")
    paths[0].write_text("".join(line.format(k, odd[k % 3]) for k in range(30)))
    paths[1].write_text("".join(line.format(k, 9 - k / 50) for k in range(30)))
    assert main(list(map(str, paths))) == 0
    told = capsys.readouterr()
    assert "nan %" not in told.out and "not finite in A" in told.out
    assert not recwarn.list and not told.err


def test_times_of_two_trainers_that_tell_no_hardware_are_not_compared(tmp_path, capsys):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text("".join(f"completed step: {k}, seconds: 0.9, loss: 9\n" for k in range(30)))
    theirs.write_text(
        "".join(
            f" iteration {k}/ 99 | elapsed time per iteration (ms): 500.1 | lm loss: 9.0E+00 |\n"
            for k in range(30)
        )
    )
    assert main([str(theirs), str(ours)]) != 1
    assert "the trainers differ, and A does not tell its hardware" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize("number", ["1.2.3", "9" * 5000, ".", "1e", "7150.60.77"])
def test_a_number_that_is_none_is_left_out_of_facts_and_breaks_nothing(number):
    text = (
        f"Num_devices: {number}, shape (1,)\nUsing (GB) {number} / {number} ({number}%) on x\n"
        f"Total memory size: {number} GB, Temp size: {number} GB\nWaited {number} seconds for step "
        f"{number} to finish before starting\nCompleted eval step: 1, seconds: {number}\n"
        f"[Rank {number}] (after 1 iterations) memory (MB) | allocated: {number}\n"
        f"Theoretical memory footprints: weight and optimizer={number} MB\n  a ..: ({number}, 1)\n"
        f"rank {number} forward start tensor {number}\nusing world size: {number}, data-parallel "
        f"size: 1\n[rank{number}]: process {number} step 3] loss={number}\n"
    )
    for step in (STEP.decode(), "iteration 3/ 4 | lm loss: 1.0 |\n", "process 0 step 3] loss=1\n"):
        metrics_of(parse_log((text + step).encode(), path=Path("some.log")))


@pytest.mark.parametrize(
    "rest",
    ["13 warnings generated.", "13:", "7", "wandb: run saved", "e5 is a key", "000.5s: done"],
)
@pytest.mark.parametrize(
    "step",
    [
        "completed step: {}, seconds: 0.100, loss: 2.125",
        " iteration {}/ 9 | grad norm: 1.5 | lm loss: 2.125",
        "[titan] 2026-01-02 03:04:05,678 - root - INFO - step:  {}  grad_norm: 1.5  loss:  2.125",
        "Training epoch 0, iteration {}/9 | global_step: {} | reduced_train_loss: 2.125",
        "I0628 18:42:05.123456 1 a.py:1] trainer process 0 step {}] loss=2.125 aux={{'z': 0.5}}",
    ],
)
def test_a_line_behind_a_record_adds_no_digit_to_it(step, rest):
    text = "".join(f"{step.format(k, k)}\n{rest}\n" for k in (1, 2, 3))
    for part in (text, text.replace("\n", "\r\n")):
        numbers = metrics_of(parse_log(part.encode(), path=Path("some.log"))).numbers
        assert numbers["train/loss"].values.tolist() == [2.125] * 3


def test_a_number_cut_by_the_end_of_a_log_is_left_out():
    step = "completed step: {}, seconds: 0.100, loss: 2.125"
    lines = [step.format(k) for k in range(1, 20)]
    for num_missing in range(1, 4):
        text = "\n".join([*lines, step.format(20)[:-num_missing]])
        numbers = metrics_of(parse_log(text.encode(), path=Path("some.log"))).numbers
        assert numbers["train/loss"].steps.tolist() == list(range(1, 20))
        assert numbers["printed/seconds"].steps.tolist() == list(range(1, 21))
    whole = "\n".join([*lines, step.format(20)])  # Without a last line end, but whole.
    numbers = metrics_of(parse_log(whole.encode(), path=Path("some.log"))).numbers
    assert numbers["train/loss"].steps.tolist() == list(range(1, 21))


TWO_TOOLS = (
    "{'loss': 2.5, 'grad_norm': 1.25, 'learning_rate': 5e-05, 'epoch': 0.1}\n",
    "completed step: 3, seconds: 0.100, loss: 2.125\n",
)


def test_step_records_of_another_tool_in_a_log_are_told():
    hugging_face, maxtext = TWO_TOOLS
    log = parse_log((hugging_face + 2 * maxtext).encode(), path=Path("some.log"))
    assert log.format == "MaxText"
    told = "it holds 1 step records of Hugging Face Trainer besides, which are not read"
    assert told in log.notes
    alone = "completed profiler activation/deactivation step: 3, total_weights: 8, loss: 2.125\n"
    assert parse_log((maxtext + alone).encode(), path=Path("some.log")).notes == []


def test_a_log_begins_where_its_steps_do_however_much_stands_before(tmp_path):
    noise = (
        "Requirement already satisfied: numpy in /usr/lib (1.26)\n"
        "2026-01-01 00:00:00.123456: E external/xla/cuda_platform.cc:51] failed call: 303\n"
        "Traceback (most recent call last):\n  File 'x.py', line 3, in <module>\nImportError: x\n"
        "  5%|#    | 5/100 [00:01<00:19, 5.0it/s] | loss: none\n"
    )
    steps = "".join(f"completed step: {k}, seconds: 0.100, loss: 2.5\n" for k in range(30))
    path = tmp_path / "some.log"
    path.write_text(noise * (1_300_000 // len(noise)) + steps)
    numbers = metrics_of(read_log(path)).numbers
    assert numbers["train/loss"].steps.tolist() == list(range(30))
