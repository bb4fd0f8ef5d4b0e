"""What MaxText, AXLearn, DeepSpeed and the Trainer of Hugging Face print in other versions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from axl_exp.compare.__main__ import main
from axl_exp.compare.load import load_run
from axl_exp.compare.logs.as_run import metrics_of
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.read import parse_log
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics_reader import Metrics

Numbers = dict[str, dict[int, float]]


def numbers(metrics: Metrics) -> Numbers:
    return {
        key: dict(zip(column.steps.tolist(), column.values.tolist(), strict=True))
        for key, column in metrics.numbers.items()
    }


def read(text: str) -> tuple[Log, Numbers]:
    log = parse_log(text.encode(), path=Path("some.log"))
    return log, numbers(metrics_of(log))


MAXTEXT = {
    "of 2023": "completed step: 7, seconds: 2.500, TFLOP/s: 36.500, loss: 2.125\n",
    "of 2024": "completed step: 7, seconds: 2.500, TFLOP/s/device: 36.500, loss: 2.125\n",
    "in a comment": "# completed step: 7, seconds: 2.500, TFLOP/s/device: 36.500, loss: 2.125\n"
    * 2,
    "wrapped at commas": (
        "completed step: 7, seconds: 2.500,\nTFLOP/s/device: 36.500, loss: 2.125,\n"
        "main_model_loss: 1.125, mtp_loss: 1.000\n"
    ),
    "without a thread": (
        "I0601 22:14:54 metric_logger.py:181] completed step: 7, seconds: 2.500, "
        "TFLOP/s/device: 36.500, loss: 2.125, lr: 0.5, param_norm: 4.25\n"
    ),
    "by Primus": (
        "[20260929 19:48:42][rank-0/1][INFO]     completed step: 7, seconds: 2.500, "
        "TFLOP/s/device: 36.500, Tokens/s/device: 570.000, loss: 2.125, lm_loss: 2.125\n"
    ),
}


@pytest.mark.parametrize("version", MAXTEXT)
def test_a_step_of_maxtext_in_every_version(version: str):
    log, found = read(MAXTEXT[version])
    assert log.format == "MaxText" and log.num_not_understood == 0
    expected = {"printed/seconds": 2.5, "printed/tflops_per_device": 36.5, "train/loss": 2.125}
    assert {key: found[key] for key in expected} == {k: {7: v} for k, v in expected.items()}
    assert found["perf/step_seconds"] == {7: 2.5}  # Stamps of whole seconds tell no step time.


def test_maxtexts_old_flops_memory_of_the_host_and_layouts_of_activations():
    log, _ = read(
        "Per train step, total TFLOPs will be 1033.20, split as 96.17% learnable weight flops and "
        "3.83% attention flops\n"
        "I0205 08:54:24.569003 13 max_utils.py:691] \nMemstats: After params initialized:\n"
        "I0205 08:54:24.569114 13 max_utils.py:697] \tUsing (GB) 6.25 / 71.25 (8.77%) on cuda:0\n"
        "I0205 08:54:24.569160 13 max_utils.py:720] \nRAMstats: After params initialized:\n"
        "I0205 08:54:24.569170 13 max_utils.py:728] \tUsing (GB) 56.5 / 471.0 (11.99%) -->  "
        "Available:410.5\n"
        "I0205 08:54:25.569170 13 attentions.py:9] attentions/out Logical: bfloat16[8,128]......."
        " ('batch', 'embed').\n"
        "I0205 08:54:25.569171 13 attentions.py:9] attentions/out Physical: bfloat16[8,128]......"
        " (('data', 'fsdp'), None).\n" + MAXTEXT["of 2024"]
    )
    assert log.facts["tflops_per_step"] == 1033.2
    assert [(m.device, m.quantity, m.num_bytes / 2**30, m.label) for m in log.memory] == [
        ("cuda:0", "in use", 6.25, "After params initialized"),
        ("host", "in use of the host", 56.5, "After params initialized"),
    ]
    assert log.activations == {
        "attentions/out": {
            "shape": "bfloat16[8,128]",
            "logical": "('batch', 'embed')",
            "physical": "(('data', 'fsdp'), None)",
        }
    }


def test_axlearns_summaries_parts_and_shapes_do_not_hide_what_stands_behind_them():
    log, found = read(
        "| 2026-05-20T22:18:12.092271991Z | trainer process   0 step        1] loss=10.5 aux={"
        "'metrics': {'cross_entropy': WeightedScalar(mean=10.25, weight=4096), 'perplexity': "
        "WeightedScalar(mean=Array(28282.5, dtype=float32), weight=Array(4096, dtype=int32))}, "
        "'logits': 'T(8, 128)', 'hidden': None, 'z_loss': 0.25} |\n"
        "| 2026-05-20T22:18:14.592271991Z | trainer process   0 step        2] loss=9.5 aux={} |\n"
    )
    assert log.num_not_understood == 0
    assert found == {
        "train/loss": {1: 10.5, 2: 9.5},
        "axlearn/cross_entropy": {1: 10.25},
        "train/perplexity": {1: 28282.5},
        "axlearn/z_loss": {1: 0.25},
        "perf/step_seconds": {2: pytest.approx(2.5)},
    }


def test_deepspeeds_speed_of_2022_times_of_a_step_and_overflows():
    log, found = read(
        "[Rank 0] Overflow detected. Skipping step. Attempted loss scale: 8192.0, reducing to "
        "4096.0\n[Rank 1] Overflow detected. Skipping step. Attempted loss scale: 8192.0\n"
        "[2022-08-29 06:58:56,121] [INFO] [logging.py:68:log_dist] [Rank 0] step=20, skipped=17, "
        "lr=[5e-05], mom=[(0.9, 0.999)]\n"
        "[2022-08-29 06:58:56,176] [INFO] [timer.py:198:stop] 0/20, RunningAvgSamplesPerSec=232.5,"
        " CurrSamplesPerSec=227.25, MemAllocated=512.0MB, MaxMemAllocated=15.25GB\n"
        "[2022-08-29 06:58:56,177] [INFO] [logging.py:96:log_dist] [Rank 0] time (ms) | fwd: 100.5"
        " | bwd_inner: 199.0\n"
    )
    assert found["perf/samples_per_second"] == {20: 227.25}
    assert found["perf/peak_memory_gib"] == {20: 15.25}
    assert found["perf/memory_gib"] == {20: 0.5}
    assert log.timers == {"fwd": (100.5, 100.5), "bwd_inner": (199.0, 199.0)}
    assert any(note.startswith("1 steps were skipped because") for note in log.notes)


HISTORY = [
    {"epoch": 0.1, "grad_norm": 1.5, "learning_rate": 4.9e-05, "loss": 3.0288, "step": 10},
    {"epoch": 0.2, "grad_norm": math.nan, "loss": 0.0, "memory (GB)": 3.75, "step": 20},
    {"epoch": 0.2, "eval_loss": 2.9, "eval_runtime": 1.5, "step": 20},
    {"epoch": 0.3, "loss": 2.5, "rewards/chosen": -0.5, "tags": ["a"], "is_done": True, "step": 30},
    {"epoch": 0.3, "step": 30, "train_loss": 2.75, "train_runtime": 100.5},
]


def test_a_trainers_state_is_a_side_with_the_steps_that_it_tells(tmp_path, capsys):
    state = {"best_model_checkpoint": None, "global_step": 30, "max_steps": 30}
    for step, history in ((20, HISTORY[:2]), (30, HISTORY)):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        text = json.dumps(state | {"log_history": history}, indent=2)
        (checkpoint / "trainer_state.json").write_text(text)
    run = load_run(RunDir(tmp_path))  # Of its newest checkpoint.
    found = numbers(run.metrics)
    losses = found.pop("train/loss")
    assert (losses[10], losses[30]) == (3.0288, 2.5) and math.isnan(losses[20])
    assert found["eval/validation/loss"] == {20: 2.9}
    assert found["hugging_face/memory (GB)"] == {20: 3.75}
    assert found["hugging_face/rewards/chosen"] == {30: -0.5}
    assert run.status == "finished"
    assert run.config is not None and run.config.texts["max_steps"] == "30"
    copy = tmp_path / "copied.json"
    copy.write_bytes((tmp_path / "checkpoint-30" / "trainer_state.json").read_bytes())
    assert main([str(tmp_path / "checkpoint-30"), str(copy)]) == 0
    assert "identical as printed" in capsys.readouterr().out
    copy.write_text('{"best_model_checkpoint": null, "log_history": []}')
    assert main([str(copy), str(tmp_path)]) == 2
    assert "holds no record: its log_history is empty" in capsys.readouterr().err


def test_names_with_units_lists_and_texts_do_not_end_a_trainers_record():
    log, found = read(
        "{'loss': 0.5, 'logits': [1.0, 2.0], 'gpu_mem': '24.5GB/48GB (51%)', 'memory_allocated "
        "(GB)': 3.75, 'epoch': 0.1}\n"
        "{'num_tokens': 128.0, 'rewards/accuracy/mean': 0.5, 'loss': 0.25, 'epoch': 0.2}\n"
        "{'eval_accuracy': 0.75, 'eval_loss': 1.5, 'epoch': 0.2}\n"
    )
    assert log.num_not_understood == 0
    assert found["train/loss"] == {1: 0.5, 2: 0.25}
    assert found["hugging_face/memory_allocated (GB)"] == {1: 3.75}
    assert found["hugging_face/rewards/accuracy/mean"] == {2: 0.5}
    assert found["hugging_face/eval_accuracy"] == {2: 0.75}


def test_a_training_loss_beside_that_of_an_evaluation_stays_one_of_training():
    _, found = read("".join(f"{{'loss': {k}.5, 'eval_loss': {k}.25}}\n" for k in (3, 2)))
    assert found["train/loss"] == {1: 3.5, 2: 2.5}
    assert found["eval/validation/loss"] == {1: 3.25, 2: 2.25}


def test_bars_that_stand_behind_their_records_tell_their_steps():
    text = "".join(
        f"{{'loss': {3 - k / 100}, 'epoch': 0.1}}\n {k}%|#   | {k}/100 [00:08<08:31,  2.19it/s]\n"
        for k in (18, 35, 53)
    )
    assert list(read(text)[1]["train/loss"]) == [18, 35, 53]


def test_tags_of_other_trainers_have_our_names_in_event_files(tmp_path):
    tags = {
        "iteration-time": "perf/step_seconds",
        "loss_metrics/global_avg_loss": "train/loss",
        "reduced_train_loss": "train/loss",
        "train/grad_norm": "train/gradient_norm",
        "eval/loss": "eval/validation/loss",
    }
    for number, (tag, name) in enumerate(tags.items()):
        directory = tmp_path / str(number)
        with SummaryWriter(str(directory)) as writer:
            writer.add_scalar(tag, 2.5, 3)
        assert numbers(load_run(RunDir(directory)).metrics) == {name: {3: 2.5}}
