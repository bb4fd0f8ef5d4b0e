"""A log that is read in blocks tells what it tells when it is read whole."""

import random

import numpy as np
import pytest

from axl_exp.compare.logs import read
from axl_exp.compare.logs.read import parse_log, read_log

_FAILURE = "Traceback (most recent call last):\n  File x\nValueError: no more data\n"


def _maxtext(num_steps):
    rng = random.Random(0)
    for step in range(num_steps):
        yield (
            f"I0628 18:{step // 60:02}:{step % 60:02}.123456 1319 metric_logger.py:196] completed "
            f"step: {step}, seconds: {rng.random():.3f}, TFLOP/s/device: {rng.gauss(90, 20):.3f}, "
            f"loss: {rng.gauss(8, 1):.3f}"
        )


def _assert_same(a, b):
    assert len(a.rows) == len(b.rows)
    assert a.rows.steps.tolist() == b.rows.steps.tolist()
    assert np.array_equal(a.rows.times, b.rows.times, equal_nan=True)
    assert a.rows.cells.keys() == b.rows.cells.keys()
    for key, cells in a.rows.cells.items():
        assert cells.values.unpack().tolist() == b.rows.cells[key].values.unpack().tolist()
    # A text without line ends has no lines of its own to be counted.
    assert a.failure.partition(": ")[2] == b.failure.partition(": ")[2]


@pytest.fixture
def read_blocks(monkeypatch, tmp_path):
    def read_blocks(text):
        monkeypatch.setattr(read, "_WHOLE_BYTES", 0)
        monkeypatch.setattr(read, "_BLOCK_BYTES", 4096)
        monkeypatch.setattr(read, "_CUT_WINDOW", 1024)
        path = tmp_path / "run.log"
        path.write_bytes(text)
        return read_log(path)

    return read_blocks


@pytest.mark.parametrize("end", ["\n", "\r\n", " "])
@pytest.mark.parametrize("tail", ["", "\n" + _FAILURE])
def test_blocks_tell_what_the_whole_tells(read_blocks, tmp_path, end, tail):
    text = (end.join(_maxtext(800)) + end.rstrip(" ") + tail).encode()
    in_blocks = read_blocks(text)
    assert len(in_blocks.rows) == 800
    _assert_same(in_blocks, parse_log(text, path=tmp_path))
    assert bool(in_blocks.failure) == bool(tail)


def test_lines_keep_their_numbers_over_blocks(read_blocks):
    lines = [line for step in _maxtext(300) for line in (step, "[module.py] chatter")]
    assert read_blocks("\n".join(lines).encode()).rows.lines.tolist() == list(range(1, 601, 2))
