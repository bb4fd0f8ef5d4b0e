"""NeMo's records and bars, and the fields that forks of torchtitan add."""

from __future__ import annotations

from pathlib import Path

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


def nemo(step: int, *, epoch: int = 0, head: str = "") -> str:
    return (
        f"{head}Training epoch {epoch}, iteration {step % 10}/10 | lr: 1.5e-06 | global_batch_size:"
        f" 128 | global_step: {step} | max_memory_reserved: {3 * 2**30} | reduced_train_loss: "
        f"{11 - step / 4} | train_step_timing in s: 2.5 | TFLOPS_per_GPU: 1.25e+03 | "
        f"consumed_samples: {128 * step} | val_loss: 9.5\n"
    )


def test_nemos_records_have_our_names_units_and_the_step_over_all_epochs():
    log, found = read("".join(nemo(k, epoch=k // 10, head="[3] ") for k in (8, 9, 10, 11)))
    assert log.format == "NeMo"
    assert log.num_not_understood == 0
    assert found["train/loss"] == {8: 9, 9: 8.75, 10: 8.5, 11: 8.25}
    assert found["perf/step_seconds"] == dict.fromkeys((8, 9, 10, 11), 2.5)
    assert found["perf/tflops_per_device"][8] == 1250
    assert found["perf/peak_memory_gib"][11] == 3
    assert found["train/consumed_samples"][10] == 1280
    assert found["eval/validation/loss"][11] == 9.5


def test_nemos_records_read_the_same_on_one_line_with_labels_and_without_a_global_step():
    text = "".join(nemo(k) for k in range(5))
    _, expected = read(text)
    assert read(text.replace("\n", " "))[1] == expected
    assert read("".join(f"0: {line}\n" for line in text.splitlines()))[1] == expected
    for k in range(5):
        text = text.replace(f"global_step: {k} | ", "")
    assert read(text)[1] == {k: v for k, v in expected.items() if k != "nemo/global_step"}


def test_a_bar_of_lightning_counts_over_epochs_and_its_running_loss_is_no_loss():
    text = ""
    for epoch, done, told in ((0, 799, "799.0"), (0, 800, "800.0"), (1, 3, "1.0e+3")):
        text += (
            f"\rEpoch {epoch}: :   1%|#   | {done}/1000 [9:07<878:01, 41.36s/it, loss=3.1, v_num=, "
            f"reduced_train_loss={4 - epoch - done / 800:.3f}, global_step={told}, "
            "train_step_timing in s=1.250]"
        )
    log, found = read(text + "\n")
    assert log.format == "NeMo"
    assert found["train/loss"] == {799: 3.001, 800: 3, 1003: 2.996}
    assert found["perf/step_seconds"] == {799: 1.25, 800: 1.25, 1003: 1.25}
    assert found["lightning/running_mean_of_loss"][800] == 3.1


TITAN = (
    "[rank0]:2026-01-16 22:30:{at:02},250 - root - INFO - step: {step}  loss:  6.1250  grad_norm:  "
    "1.2500  memory: 49.50GiB(52.25%)  data T:  0.0125s  tps: 5,850  timings: wait_time=0.5 "
    "feed_time=1e-05  tflops: 339.25  mfu: 34.25%opt: 12.5ms  loss AR: 0.0025s\n"
)


def test_fields_that_forks_of_torchtitan_add_do_not_hide_those_behind_them():
    log, found = read("".join(TITAN.format(at=k, step=k) for k in (1, 2)))
    assert log.num_not_understood == 0
    assert {key: column[2] for key, column in found.items()} == {
        "perf/memory_gib": 49.5,
        "perf/memory_percent": 52.25,
        "perf/mfu": 0.3425,
        "perf/step_seconds": 1.0,
        "perf/tflops_per_device": 339.25,
        "perf/tokens_per_second": 5850,
        "printed/tokens_per_second_per_device": 5850,
        "torchtitan/data T": 0.0125,
        "torchtitan/feed_time": 1e-05,
        "torchtitan/loss AR": 0.0025,
        "torchtitan/opt": 0.0125,
        "torchtitan/wait_time": 0.5,
        "train/gradient_norm": 1.25,
        "train/loss": 6.125,
    }


def test_a_loss_of_minus_one_on_every_line_is_no_loss():
    log, found = read("".join(TITAN.format(at=k, step=k) for k in (1, 2)).replace("6.1250", "-1.0"))
    assert "train/loss" not in found and found["train/gradient_norm"] == {1: 1.25, 2: 1.25}
    assert any("not of the last pipeline stage" in note for note in log.notes)


def test_a_save_of_torchtitan_is_charged_to_the_line_behind_it():
    text = TITAN.format(at=1, step=1)
    text += (
        "[rank0]:- INFO - Finished saving the checkpoint (or staging if async)in 3.25 seconds.\n"
    )
    _, found = read(text + TITAN.format(at=8, step=2))
    assert found["time/blocking_save_seconds"] == {1: 0, 2: 3.25}
