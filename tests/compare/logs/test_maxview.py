"""MaxView's pages: their figures made again, and what their logs support."""

from __future__ import annotations

import json
import re

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.comparison import compare
from axl_exp.compare.sides import choose_sides, load_side
from axl_exp.compare.verdict import State
from axl_exp.run.store import RunStore

from .conftest import SEEDS, needs_seeds

INT8 = SEEDS / "maxview_linen_vs_nnx_int8.txt"
ASYNC = SEEDS / "maxview_checkpoint_async.txt"


def compared(*names):
    names = [str(name) for name in names]
    sides = choose_sides(names, store=RunStore())
    (comparison,) = compare([load_side(side) for side in sides])
    return comparison


def metric(found, name):
    return next(metric for metric in found.metrics if metric.name == name)


@needs_seeds
def test_int8_has_no_steady_state_change():
    step_time = metric(compared(INT8), "step time, median (s)")
    assert (step_time.a, step_time.b) == pytest.approx((0.230, 0.230), abs=0.001)
    assert step_time.state is State.WITHIN_NOISE
    assert metric(compared(INT8), "TFLOP/s per device").state is State.WITHIN_NOISE


@needs_seeds
def test_int8_average_is_the_stall():
    found = compared(INT8).theirs
    assert found is not None
    assert "-0.204 s/step, -0.170 from step 7 (29.642 against 28.112 s)" in found.average_told


@needs_seeds
def test_int8_losses_are_apart_by_quanta_from_step_0():
    losses = compared(INT8).losses
    assert losses.parting is not None and losses.parting.step == 0
    assert losses.quanta_apart == (1, 3)
    assert losses.cause is not None and losses.cause.name == "START"
    assert losses.share_higher == 0.0


@needs_seeds
def test_int8_names_the_processes_that_were_compared():
    difference = next(d for d in compared(INT8).differences if d.what == "host.process_index")
    assert (difference.a, difference.b, difference.kind.value) == ("2", "1", "confounder")


@needs_seeds
def test_every_figure_of_the_page_is_made_again():
    found = compared(INT8).theirs
    assert found is not None
    assert [f.name for f in found.figures if f.shown_a] == [
        *("Parameters", "Final loss", "TFLOP/s", "Tok/s", "Avg s/step", "Memory %", "JAX"),
    ]
    for figure in found.figures:
        for value, shown in ((figure.a, figure.shown_a), (figure.b, figure.shown_b)):
            if isinstance(value, str):
                assert value == shown
            else:
                unit = 10.0 ** -len(shown.partition(".")[2])
                assert value == pytest.approx(float(shown), abs=0.51 * unit)


@needs_seeds
def test_a_page_of_two_logs_needs_no_second_name_and_each_log_has_one(capsys):
    assert main([str(INT8)]) == 0
    assert main([f"{INT8}#Linen", f"{INT8}#NNX"]) == 0
    assert main([str(INT8), str(ASYNC)]) == 2
    assert f"holds 2 logs: write {INT8}#Linen or {INT8}#NNX." in capsys.readouterr().err


@needs_seeds
def test_async_step_7_is_impossible_and_step_6_is_taken_apart():
    found = compared(ASYNC, ASYNC)
    peak = next(check for check in found.checks if "TFLOP/s" in check.what)
    assert not peak.holds
    assert "2170.8 at step 7 (0.006 s: the host drained its queue)" in peak.told
    assert found.theirs is not None
    step_6 = next(long for long in found.theirs.long_steps if long.step == 6)
    assert step_6.seconds == 34.677
    assert [round(seconds, 3) for _, seconds in step_6.parts[:3]] == [0.231, 28.065, 6.373]


@needs_seeds
def test_the_json_holds_the_whole_log(capsys):
    assert main([str(INT8), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    log = told["a"]["runs"][0]["log"]
    assert len(log["parameters"]) == 12
    assert log["parameters"]["params/params/token_embedder/embedding"]["shape"] == (
        "float32[32000,2048]"
    )
    assert [m["percent"] for m in log["memory"] if m["percent"]] == [1.408, 1.376, 1.376, 1.376]


def test_a_page_of_our_own_reads_without_seeds(maxtext, tmp_path):
    page = tmp_path / "page.txt"
    table = "Final loss8.60008.6000+0.000\nAvg s/step0.2500.250+0.000\nJAX0.9.20.9.2\n"
    logs = "\n".join(
        f"{name} \u00a0\u00b7\u00a0 {commit} \u00a0\u00b7\u00a0 run_1 \u00a0\u00b7\u00a0 full log\n"
        f"{maxtext()}"
        for name, commit in (("Main", "aaaaaaa"), ("Branch", "bbbbbbb"))
    )
    page.write_text(f"MaxView\n\nCase: 04_int8\n\n{table}\n{logs}")
    found = compared(page)
    assert found.losses.identical
    assert found.theirs is not None
    shown = {figure.name: (figure.a, figure.shown_a) for figure in found.theirs.figures}
    assert shown["Final loss"] == (8.6, "8.6000")
    assert shown["Avg s/step"] == (0.25, "0.250")
    assert re.search("declared", " ".join(d.kind.value for d in found.differences))


@needs_seeds
def test_int8_parameters_of_linen_and_nnx_are_the_same_twelve():
    parameters = compared(str(INT8)).parameters
    assert (parameters.num_a, parameters.num_b, parameters.num_matched) == (12, 12, 12)
    assert (parameters.is_wrapped, parameters.changes, parameters.untold) == (True, [], ["logical"])


DIFF = "Diff = NNX value − Linen value. Green = NNX improved. Red = NNX regressed.\n"
TEXT_TABLE = (
    "MaxView\n\nMetrics: Linen vs NNX  ·  feat/x\n\nMetricLinen  123456789NNX  abcdef012Diff\n"
    f"Final loss8.60008.6000+0.000\nJAX0.9.20.9.2\n\n{DIFF}\n"
)
MARKDOWN_TABLE = (
    "Linen vs NNX · feat/x| Metric | Linen 123456789 | NNX abcdef012 | Diff (NNX − Linen) |\n"
    "|---|---|---|---|\n| Final loss | 8.6000 | 8.6000 | +0.000 |\n| JAX | 0.9.2 | 0.9.2 | — |\n"
    + DIFF
)


@pytest.mark.parametrize("head", [TEXT_TABLE, MARKDOWN_TABLE], ids=["text", "markdown"])
@pytest.mark.parametrize("is_folded", [False, True], ids=["lines", "one line"])
def test_a_page_without_heads_of_its_logs_is_taken_apart_at_their_launches(
    head, is_folded, maxtext, tmp_path
):
    save = (
        "I0420 15:50:02.100000 1319 checkpointing.py:80] Finished blocking save in 0.125 s\n"
        "I0420 15:50:02.200000 1319 metric_logger.py:196] completed step: 5"
    )
    logs = [
        "XPK Start: Mon Apr 20 15:48:43 UTC 2026\n"
        + re.sub(r"I0420 [\d:.]+ 1319 metric_logger.py:196\] completed step: 5", save, maxtext())
        for _ in range(2)
    ]
    page = tmp_path / "page.txt"
    page.write_text(head + "".join(log.replace("\n", " ") if is_folded else log for log in logs))
    found = compared(page)
    assert found.losses.identical
    assert [run.metrics.num_records for run in (found.a, found.b)] == [20, 20]
    assert found.a.metrics.numbers["time/blocking_save_seconds"].values[5] == 0.125
    assert [run.env["git"]["commit"] for run in (found.a, found.b)] == ["123456789", "abcdef012"]
    assert found.theirs is not None
    shown = {f.name: (f.shown_a, f.shown_diff) for f in found.theirs.figures if f.shown_a}
    assert shown == {"Final loss": ("8.6000", "+0.000"), "JAX": ("0.9.2", "")}
