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
from axl_exp.compare.logs.read import parse_log

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
    assert "does not exist" in capsys.readouterr().err


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
        *(b"Waited 1e5 seconds for step 3 to finish before starting", b"\xff\xfe", b"  a .. b\n"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES | st.binary(max_size=12), max_size=24).map(b"".join))
def test_no_text_breaks_the_parsers(text):
    try:
        log = parse_log(text, path=Path("some.log"))
    except LogError:
        return
    metrics_of(log)
