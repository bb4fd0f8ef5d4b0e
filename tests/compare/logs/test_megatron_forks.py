"""Lines of Megatron-LM's versions and forks: every number under one name, in one unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from axl_exp.compare.logs.as_run import metrics_of
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.read import parse_log


def read(text: str) -> tuple[Log, dict[str, dict[int, float]]]:
    log = parse_log(text.encode(), path=Path("some.log"))
    numbers = metrics_of(log).numbers
    return log, {
        key: dict(zip(column.steps.tolist(), column.values.tolist(), strict=True))
        for key, column in numbers.items()
    }


_END = "number of skipped iterations:   0 | number of nan iterations:   0 |\n"
_SECONDS = {"perf/step_seconds": 2.5}
# fork -> (a record of step 7, what must be read of it)
RECORDS = {
    "Primus": (
        "[20260102 03:04:05][rank-7/8][INFO ] [-----trainer.py:77] :  iteration        7/      20 |"
        " consumed samples:           56 | elapsed time per iteration (ms): 2500.0/2600.5 |"
        " hip mem usage/free/total/usage_ratio: 60.25GB/131.75GB/192.00GB/31.38% |"
        " throughput per GPU (TFLOP/s/GPU): 410.5/400.1 |"
        " tokens per GPU (tokens/s/GPU): 8192.5/8000.0 | lm loss: 9.500000E+00 | " + _END,
        _SECONDS
        | {
            "perf/memory_gib": 60.25,
            "perf/memory_percent": 31.38,
            "perf/tflops_per_device": 410.5,
            "printed/tokens_per_second_per_device": 8192.5,
            "train/loss": 9.5,
            "train/num_nan_iterations": 0,
        },
    ),
    "Primus, means in brackets": (
        " iteration        7/      20 | elapsed time per iteration (ms): 2500.0/2600.5 | compute "
        "per GPU (TFLOP/s/GPU): 410.5 (avg 400.1) | tokens/s/GPU inst/harmonic mean: 8192.5/8000.0 "
        "| lm loss: 9.500000E+00 | " + _END,
        _SECONDS
        | {
            "perf/tflops_per_device": 410.5,
            "printed/tokens_per_second_per_device": 8192.5,
            "train/loss": 9.5,
        },
    ),
    "GPT-NeoX": (
        " samples/sec: 12.250 | iteration        7/      20 | elapsed time per iteration (ms): "
        "2500.0 | learning rate: 1.500E-04 | approx flops per GPU: 950.5GFLOPS | lm_loss: "
        "9.500000E+00 | " + _END,
        _SECONDS
        | {
            "perf/samples_per_second": 12.25,
            "perf/tflops_per_device": 0.9505,
            "train/loss": 9.5,
            "train/learning_rate": 1.5e-4,
        },
    ),
    "Argonne": (
        "[2026-01-02 03:04:05.678901][INFO][training_log:66] -  iteration=       7/      20 | "
        "consumed_samples=          56 | elapsed_time_per_iteration_ms=2500.0 | lm loss=9.500000 | "
        "grad_norm=1.250 | samples_per_second=12.250 | tokens_per_gpu_per_second_tgs=8192.500 | "
        "[LM]TFLOPs=41.50 | [DS]TFLOPs=51.50 |\n",
        _SECONDS
        | {
            "perf/samples_per_second": 12.25,
            "perf/tflops_per_device": 41.5,
            "printed/tokens_per_second_per_device": 8192.5,
            "train/consumed_samples": 56,
            "train/gradient_norm": 1.25,
            "train/loss": 9.5,
        },
    ),
    "Megatron-Bridge": (
        "Step Time : 2.50s GPU utilization: 410.5MODEL_TFLOP/s/GPU\n\n"
        " [2026-01-02 03:04:05] iteration        7/      20 | elapsed time per iteration (ms): "
        "2500.0 | lm loss: 9.500000E+00 | load_balancing_loss: 1.500000E+00 | "
        + _END.rstrip("\n")
        # The next text follows without a line end.
        + "Number of parameters in transformer layers in billions:  6.98\n",
        _SECONDS
        | {
            "perf/tflops_per_device": 410.5,
            "train/loss": 9.5,
            "train/moe_load_balance_loss": 1.5,
        },
    ),
    "a bare rate at the end, no bar": (
        "iteration    7/20 | lm loss: 9.500000E+00 | grad norm:   1.250 | 41.5 TFLOP/s/GPU\n",
        {"perf/tflops_per_device": 41.5, "train/loss": 9.5, "train/gradient_norm": 1.25},
    ),
    "a field of text": (
        " iteration 7/20 | elapsed time per iteration (ms): 2500.0 | stage: warm-up | started: "
        "2026-01-02 | batch size (tokens): 1.5M (2.0M @ 8 GPUs) | lm loss: 9.500000E+00 |\n",
        _SECONDS | {"megatron/batch size (tokens)": 1.5e6, "train/loss": 9.5},
    ),
}


@pytest.mark.parametrize("fork", RECORDS)
def test_every_number_of_a_record_has_our_name_and_unit(fork: str):
    record, expected = RECORDS[fork]
    log, found = read(record)
    assert log.format == "Megatron-LM"
    assert {key: found[key] for key in expected} == {k: {7: v} for k, v in expected.items()}
    assert not any("Number of" in key or "started" in key for key in found)
    assert log.num_not_understood == 0
    folded, again = read((record + record.replace(" 7/", " 8/")).replace("\n", " ") + "\n")
    assert {key: again[key] for key in expected} == {k: {7: v, 8: v} for k, v in expected.items()}
    assert len(folded.rows) == 2


def test_records_without_a_bar_at_the_end_do_not_run_into_the_next_line():
    _, found = read("".join(f"iteration {k}/3 | lm loss: {k}.5\n" for k in (1, 2, 3)))
    assert found == {"train/loss": {1: 1.5, 2: 2.5, 3: 3.5}}


def test_memory_of_megatron_bridge_is_in_gigabytes_and_its_counters_are_no_memory():
    log, _ = read(
        RECORDS["Megatron-Bridge"][0] + "[Rank 0] (after 1 iterations) memory (GB) | "
        "mem-allocated-gigabytes: 51.5 | mem-max-reserved-gigabytes: 216.25 | "
        "mem-alloc-retires: 0 | mem-allocated-count: 571\n"
    )
    told = {(m.device, m.quantity): m.num_bytes for m in log.memory}
    assert told == {("rank 0", "allocated"): 51.5e9, ("rank 0", "max reserved"): 216.25e9}
    assert log.results["allocator"] == {"mem-alloc-retires": "0", "mem-allocated-count": "571"}
    assert log.facts["parameters_in_billions"] == {
        "number of parameters in transformer layers": "6.98"
    }


def test_evaluations_on_the_test_set_are_not_those_on_the_validation_set():
    _, found = read(
        RECORDS["GPT-NeoX"][0]
        + " validation loss at iteration 7 on validation set | lm loss value: 8.5E+00 | lm loss "
        "PPL: 4.9E+03 |\n"
        " validation loss at iteration 7 on test set | lm loss value: 8.75E+00 | lm loss PPL: "
        "6.3E+03 |\n validation results at iteration 14 | lm_loss value: 8.25E+00 | lm_loss_ppl "
        "value: 3.8E+03 |\n"
    )
    assert found["eval/validation/loss"] == {7: 8.5, 14: 8.25}
    assert found["eval/validation/perplexity"] == {7: 4900, 14: 3800}
    assert found["eval/test/loss"] == {7: 8.75}


def test_an_evaluation_at_the_end_of_training_stands_at_the_last_step():
    _, found = read(
        RECORDS["GPT-NeoX"][0] + " validation loss at the end of training for val data | "
        "lm loss value: 8.125000E+00 | lm loss PPL: 3.4E+03 |\n"
    )
    assert found["eval/validation/loss"] == {7: 8.125}


def test_a_rank_that_prints_speeds_alone_has_steps_one_by_one():
    log, found = read(
        "Step Time : 9.25s GPU utilization: 20.5MODEL_TFLOP/s/GPU\n"
        "Step Time : 2.50s GPU utilization: 410.5MODEL_TFLOP/s/GPU\n"
    )
    assert found["perf/step_seconds"] == {1: 9.25, 2: 2.5}
    assert found["perf/tflops_per_device"] == {1: 20.5, 2: 410.5}
    assert "its lines tell no step: they are counted one by one" in log.notes
    assert log.num_not_understood == 0


@pytest.mark.parametrize(("rate", "is_told"), [("6.4", False), ("0.0064", True), ("6400.0", True)])
def test_samples_per_second_that_are_not_batch_over_time_are_told(rate: str, is_told: bool):
    log, _ = read(
        " iteration 7/ 20 | elapsed time per iteration (ms): 2500.0 | global batch size:    16 |"
        f" samples per second: {rate} |\n"
    )
    assert any("not to be used" in note for note in log.notes) is is_told
