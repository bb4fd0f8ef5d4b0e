"""What a change is linked to, and FLOP/s on one basis."""

from __future__ import annotations

import pytest

from axl_exp.compare.comparison import Comparison, compare
from axl_exp.compare.foreign_leaf_class import foreign_leaf_class
from axl_exp.compare.sides import Side, Source, load_side
from axl_exp.compare.verdict import State
from axl_exp.config.leaf_class import LeafClass
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import MetricsWriter

CONFIG = "checkpointer.save_every_steps: {save}\ninput.max_sequence_length: 64\n"
CONFIG += "learner.learning_rate: {rate}\nmesh_shape: {mesh}\nmodel.dim: 256\n"


def config(*, save: int = 50, rate: float = 0.001, mesh: str = "(4, 1)") -> str:
    return CONFIG.format(save=save, rate=rate, mesh=mesh)


def compared(a: RunDir, b: RunDir) -> Comparison:
    sides = [load_side(Side(str(run.path), (Source((run.path,)),))) for run in (a, b)]
    return compare(sides)[0]


def test_each_change_is_linked_to_the_leaves_that_can_make_it_the_likeliest_first(make_run):
    worse = {step: 1.1 * (9 - step / 20) for step in range(1, 61)}
    text = config(save=60, rate=0.002, mesh="(2, 2)")
    b = make_run("b", config=text, losses=worse, step_seconds=0.3)
    c = compared(make_run("a", config=config()), b)
    leaves = {e.metric: e.leaves for e in c.explanations}
    assert leaves["training loss, tail"] == ["learner.learning_rate", "mesh_shape"]
    assert leaves["step time, median (s)"] == ["mesh_shape", "learner.learning_rate"]
    assert not any("save_every_steps" in path for paths in leaves.values() for path in paths)


def test_a_slowdown_that_nothing_explains_is_said_to_be_unexplained(make_run):
    a, b = (make_run(n, config=config(save=s)) for n, s in (("a", 50), ("x", 60)))
    assert compared(a, b).explanations == []
    b = make_run("b", config=config(save=60), step_seconds=0.3)
    (told, *_) = compared(a, b).explanations
    assert told.told.startswith("unexplained: no config leaf that can change it")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("['tensorboard_dir']", LeafClass.IO),
        ("checkpoint_period", LeafClass.IO),
        ("save_interval", LeafClass.IO),
        ("log_interval", LeafClass.IO),
        ("run_name", LeafClass.IO),
        ("training.global_batch_size", LeafClass.DATA),
        ("per_device_batch_size", LeafClass.DATA),
        ("seq_length", LeafClass.DATA),
        ("tokenizer_model", LeafClass.DATA),
        ("tensor_model_parallel_size", LeafClass.PARALLELISM),
        ("ici_fsdp_parallelism", LeafClass.PARALLELISM),
        ("remat_policy", LeafClass.PARALLELISM),
        ("recompute_granularity", LeafClass.PARALLELISM),
        ("parallelism.data_parallel_shard_degree", LeafClass.PARALLELISM),
        ("activation_checkpoint.mode", LeafClass.PARALLELISM),
        ("adam_beta2", LeafClass.OPTIMIZER),
        ("lr", LeafClass.OPTIMIZER),
        ("optimizer.lr", LeafClass.OPTIMIZER),
        ("learning_rate", LeafClass.OPTIMIZER),
        ("lr_warmup_iters", LeafClass.OPTIMIZER),
        ("clip_grad", LeafClass.OPTIMIZER),
        ("weight_decay", LeafClass.OPTIMIZER),
        ("hidden_size", LeafClass.NUMERICS),
        ("num_layers", LeafClass.NUMERICS),
        ("quantization", LeafClass.NUMERICS),
        ("seed", LeafClass.NUMERICS),
        ("a_name_that_nobody_knows", LeafClass.NUMERICS),
    ],
)
def test_arguments_of_other_trainers_have_classes(name: str, expected: LeafClass):
    assert foreign_leaf_class(name) is expected


def with_flops(run_dir: RunDir, *, per_token: float, step_seconds: float) -> RunDir:
    with MetricsWriter(run_dir.metrics, header={}) as writer:
        for step in range(1, 61):
            rate = per_token * 1024 / step_seconds / 1e12
            writer.write({"step": step, "perf/tflops_per_device": rate})
    return run_dir


def test_rates_of_two_formulas_are_recomputed_on_one_basis(make_run):
    """An 8B model at 8,192 tokens: 51.5 GFLOP per token causal, 57.9 full."""
    a = with_flops(make_run("a", config=config()), per_token=51.5e9, step_seconds=0.25)
    facts = {"flop_formula": "dense-full/1"}
    b = make_run("b", config=config(), facts=facts, step_seconds=0.25)
    b = with_flops(b, per_token=57.9e9, step_seconds=0.25)
    found = next(m for m in compared(a, b).metrics if m.key == "perf/tflops_per_device")
    assert found.relative == pytest.approx(0.0, abs=1e-9)  # As printed it is 12 % more.
    assert found.state is State.WITHIN_NOISE
    assert "recomputed by A's formula dense-causal/1, x 0.8895" in found.formula


def test_rates_of_two_formulas_and_two_models_are_not_comparable(make_run):
    a = with_flops(make_run("a", config=config()), per_token=51.5e9, step_seconds=0.25)
    text = config().replace("256", "512")
    b = make_run("b", config=text, facts={"flop_formula": "dense-full/1"})
    found = next(
        m
        for m in compared(a, with_flops(b, per_token=57.9e9, step_seconds=0.25)).metrics
        if m.key == "perf/tflops_per_device"
    )
    assert found.state is State.NOT_COMPARABLE
    assert "FLOP formula differs" in found.reason
