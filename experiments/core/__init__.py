"""Small configs that each try one thing, and the suites that are made of them.

`python -m axl_exp.suite run --suite=core --base=main` runs them on two commits. They learn real
text like fuji-tiny, in some seconds on a CPU: the point is the comparison, not the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from axl_exp.config import config_for_function
from axl_exp.suite.definition import Case, Suite
from axl_exp.train.policy import every_n_steps_and_last_policy
from axl_exp.train.trainer import SpmdTrainer
from experiments.core.short_documents import ShortDocuments
from experiments.fuji.recipe import with_fp8
from experiments.fuji.tiny import fuji_tiny

_MAX_STEP = 40


def core() -> SpmdTrainer.Config:
    """Return the config that the others differ from: two layers of fuji-tiny, 8 rows, 40 steps."""
    cfg: Any = fuji_tiny().set(max_step=_MAX_STEP, log_every_n_steps=20)
    cfg.model.decoder.transformer.num_layers = 2
    cfg.input.global_batch_size = 8
    cfg.learner.optimizer.update_schedule.warmup_steps = 10
    cfg.learner.optimizer.update_schedule.max_step = _MAX_STEP
    validation: Any = cfg.evalers["validation"]
    validation.input.set(global_batch_size=8, num_batches=4)
    validation.eval_policy = config_for_function(every_n_steps_and_last_policy).set(n=_MAX_STEP)
    cfg.checkpointer.save_policy = config_for_function(every_n_steps_and_last_policy).set(
        n=_MAX_STEP
    )
    cfg.summary_writer.write_every_n_steps = 10
    return cfg


def _dropout() -> SpmdTrainer.Config:
    cfg: Any = core()
    cfg.model.decoder.dropout_rate = 0.1
    return cfg


def _accumulation() -> SpmdTrainer.Config:
    return core().set(accumulation_steps=4)


def _checkpoint_async() -> SpmdTrainer.Config:
    cfg: Any = core()
    cfg.checkpointer.save_policy.n = 10
    return cfg


def _int8() -> SpmdTrainer.Config:
    cfg: Any = core()
    cfg.model.quantization.forward_dtype = jnp.int8
    return cfg


def _packing() -> SpmdTrainer.Config:
    cfg: Any = core()
    packed = cfg.evalers["validation"]
    for read in (cfg.input, packed.input):
        read.source = ShortDocuments.default_config().set(
            dataset_name=read.source.dataset_name, split=read.source.split
        )
    alone = packed.clone()
    alone.input.eval_stride_tokens = alone.input.max_sequence_length
    cfg.evalers = {"validation": packed, "alone": alone}
    return cfg


def _windows() -> SpmdTrainer.Config:
    cfg: Any = core()
    cfg.evalers["validation"].input.eval_stride_tokens = 32
    return cfg


def named_trainer_configs() -> dict[str, Callable[[], SpmdTrainer.Config]]:
    """Return the functions that make each config, by name."""
    return {
        "core": core,
        "core-dropout": _dropout,
        "core-accumulation": _accumulation,
        "core-checkpoint-async": _checkpoint_async,
        "core-int8": _int8,
        "core-fp8": lambda: with_fp8(core()),
        "core-packing": _packing,
        "core-windows": _windows,
    }


_BASE = Case("base", "core", about="the plain model")
# Sums of four parts are rounded in another order: 3e-7 apart after 40 steps in float32 on a CPU.
_ACCUMULATION = Case(
    "accumulation",
    "core-accumulation",
    losses_of="base",
    within=1e-5,
    about="a step in four parts",
)


def named_suites() -> tuple[Suite, ...]:
    """Return the suites."""
    return (
        Suite(
            "core",
            (
                _BASE,
                Case("dropout", "core-dropout", about="random numbers follow from seed and step"),
                Case("int8", "core-int8", about="products in int8"),
                Case("fp8", "core-fp8", about="products in fp8, backward ones too"),
                _ACCUMULATION,
                Case(
                    "packing",
                    "core-packing",
                    about="documents that meet in a row: packed, and each alone in padded rows",
                ),
                Case("windows", "core-windows", about="evaluation in overlapping windows"),
                Case(
                    "checkpoint_async",
                    "core-checkpoint-async",
                    about="a save every 10 steps, written while training goes on",
                ),
                Case(
                    "resume",
                    "core-checkpoint-async",
                    interrupt_at_step=15,
                    losses_of="checkpoint_async",
                    about="a run that is stopped goes on as if it had not been",
                ),
            ),
            about="one case per thing that a change can break",
        ),
        Suite("quick", (_BASE, _ACCUMULATION), about="for every pull request, under a minute"),
    )
