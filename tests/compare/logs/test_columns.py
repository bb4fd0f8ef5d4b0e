"""Reading many lines at once against reading each by the dialect's patterns and Python's float."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.compare.logs import records
from axl_exp.compare.logs.columns import read_columns
from axl_exp.compare.logs.read import parse_log

_PATH = Path("run.log")


def _maxtext(rng, step):
    mark = "profiler activation/deactivation " if rng.random() < 0.05 else ""
    loss = rng.choice([f"{rng.gauss(8, 0.5):.3f}", "nan", "-0.000", "inf", "12"])
    return (
        f"I{rng.randint(1, 12):02}{rng.randint(1, 28):02} {step % 24:02}:{step % 60:02}:07."
        f"{rng.randrange(10**6):06} {rng.choice((7, 1319))} metric_logger.py:196] completed {mark}"
        f"step: {step}, seconds: {rng.expovariate(1):.3f}, TFLOP/s/device: "
        f"{rng.gauss(400, 20):.3f}, total_weights: {rng.randint(10**5, 10**6)}, loss: {loss}"
    )


def _megatron(rng, step):
    skipped = f" number of skipped iterations: {step % 3} |" if step % 2 else ""
    return (
        f" [2025-06-{rng.randint(1, 28):02} 18:42:{step % 60:02}.{rng.randrange(10**6):06}] "
        f"iteration {step:8}/ 5000 | consumed samples: {128 * step:12} | elapsed time per iteration"
        f" (ms): {rng.gauss(500, 20):.1f} | learning rate: {rng.random() * 1e-4:.6E} | lm loss: "
        f"{rng.gauss(9, 3):.6E} | grad norm: {rng.random():.3f} |{skipped}"
    )


def _torchtitan(rng, step):
    return (
        f"[rank0]:2025-06-28 18:{step % 60:02}:27,{rng.randrange(1000):03} - root - INFO - step: "
        f"{step:2}  loss: {rng.gauss(9, 3):7.4f}  grad_norm: {rng.expovariate(1):.4f}  memory: "
        f"{rng.gauss(40, 1):5.2f}GiB({rng.gauss(50, 1):.2f}%)  tps: {rng.randint(800, 12000):,}  "
        f"tflops: {rng.gauss(90, 2):,.2f}  mfu: {rng.choice(('N/A', '12.34%'))}"
    )


def _axlearn(rng, step):
    return (
        f"I0628 18:42:{step % 60:02}.123456 {rng.choice((7, 1319))} trainer.py:10] process   0 "
        f"step {step:8}] loss={rng.gauss(9, 3):.6g} aux={{'perplexity': {rng.expovariate(1):.4e}}}"
    )


def _deepspeed(rng, step):
    return (
        f"steps: {step} loss: {rng.gauss(9, 3):.4f} iter time (s): {rng.expovariate(1):.3f} "
        f"samples/sec: {rng.gauss(90, 20):.3f}"
    )


_LINES = {
    "MaxText": _maxtext,
    "Megatron-LM": _megatron,
    "torchtitan": _torchtitan,
    "AXLearn": _axlearn,
    "DeepSpeed": _deepspeed,
}


def _read(text, monkeypatch=None):
    """Return all columns of a log, and how often lines were read many at once."""
    used = []
    with pytest.MonkeyPatch.context() as patch:
        if monkeypatch == "one by one":
            patch.setattr(records, "read_columns", lambda *_: None)
        else:

            def spy(*arguments):
                spans = read_columns(*arguments)
                used.append(spans is not None)
                return spans

            patch.setattr(records, "read_columns", spy)
        log = parse_log(text.encode(), path=_PATH)
    columns = {}
    for name, rows in (("train", log.rows), ("eval", log.evals)):
        for column in ("steps", "lines", "times", "sources"):
            columns[name, column] = getattr(rows, column).tobytes()
        columns[name, "names"] = rows.source_names
        columns[name, "quanta"] = rows.quanta
        for key, cells in rows.cells.items():
            columns[name, key] = cells.rows.unpack().tobytes(), cells.values.unpack().tobytes()
    return columns, log, any(used)


def _assert_same(text):
    together, log, _ = _read(text)
    alone, other, _ = _read(text, "one by one")
    assert together == alone
    assert log.num_not_understood == other.num_not_understood


@pytest.mark.parametrize("name", _LINES)
@pytest.mark.parametrize("num_chatter", [0, 3])
def test_many_lines_at_once_tell_what_each_alone_tells(name, num_chatter):
    rng = random.Random(0)
    lines = []
    for step in range(1000):
        lines.append(_LINES[name](rng, step))
        lines += [f"[module.py] word {i} of step 7, loss of time 3.14" for i in range(num_chatter)]
    text = "\n".join(lines) + "\n"
    _, log, is_together = _read(text)
    assert log.format == name and len(log.rows) == 1000
    assert is_together
    _assert_same(text)


@pytest.mark.parametrize("name", _LINES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_lines_with_any_damage_tell_the_same(name, data):
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    lines = [_LINES[name](rng, step) for step in range(60)]
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        cut = data.draw(st.integers(0, len(lines[at])))
        new = data.draw(st.sampled_from(["", "\n", " ", "1", "9" * 20, "-", "e9", "nan", ", x: 1"]))
        lines[at] = lines[at][:cut] + new + lines[at][cut + data.draw(st.integers(0, 3)) :]
    _assert_same("\n".join(lines) + data.draw(st.sampled_from(["", "\n"])))


def test_a_number_in_a_name_is_no_number():
    lines = [f"completed step: {k}, loss{k % 3}: {k}.5, loss: 2.5" for k in range(100)]
    columns, _, is_together = _read("\n".join(lines) + "\n")
    assert is_together
    assert columns["train", "maxtext/loss2"] == (
        np.arange(2, 100, 3).tobytes(),
        (np.arange(2, 100, 3) + 0.5).tobytes(),
    )
