"""The sides of `tools.bench train` that are of JAX: python -m tools.bench.train_side WHICH WHAT."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from axl_exp.run.layout import RunDir
from axl_exp.train.memory import compiled_bytes
from axl_exp.train.session import Display, run_session
from axl_exp.train.stop import stop_on_signals
from tools.bench import bare
from tools.bench.cases import CASES, make_trainer
from tools.bench.parity import check_parity, sizes_of
from tools.bench.processes import Turns, train

# Steps that no run of the benchmark reaches.
MAX_STEP = 100_000
PARITY_STEPS = 2


def ours(case_name: str, turns: Turns) -> None:
    """The whole trainer: its data pipeline, its loop, its records."""
    trainer = make_trainer(CASES[case_name], max_step=MAX_STEP)
    trainer.open_inputs(data_dir=None)
    compiled = trainer.compile()
    plan = trainer.plan().with_compiled(compiled)
    turns.ready(attention=plan.attention.name, compiled_bytes=plan.memory.compiled_bytes)
    with tempfile.TemporaryDirectory() as directory, stop_on_signals() as stop:
        run_session(
            trainer,
            compiled=compiled,
            plan=plan,
            run_dir=RunDir(Path(directory)),
            env={"config": case_name},
            display=Display(say=lambda text: None, on_step=lambda report: turns.step_done()),
            stop=stop,
            compile_seconds=0.0,
            started=time.perf_counter(),
        )


def parity(case_name: str, turns: Turns) -> None:
    """No side, but what makes them one benchmark: the sizes, and that the step by hand is ours."""
    trainer = make_trainer(CASES[case_name], max_step=MAX_STEP)
    sizes = sizes_of(trainer.config)
    said = f"parity: not checked, {sizes.dtype} rounds"
    if sizes.dtype == "float32":
        trainer.open_inputs(data_dir=None)
        assert trainer.input is not None  # Inputs are open.
        batches = list(itertools.islice(trainer.input.iterator(), PARITY_STEPS))
        said = check_parity(trainer, trainer.compile(), sizes, batches)
    turns.ready(parity=said, sizes=dataclasses.asdict(sizes))


def by_hand(sizes_json: str, turns: Turns) -> None:
    """The same step with JAX alone, one step in flight as in the trainer."""
    sizes = bare.Sizes(**json.loads(sizes_json))
    batch = bare.random_batch(sizes, np.random.default_rng(0))
    params = lambda: bare.init_params(sizes, jax.random.key(0))  # noqa: E731
    init = jax.jit(lambda: bare.init_state(params(), mu_dtype=sizes.mu_dtype))
    compiled = bare.train_step.lower(sizes, jax.eval_shape(init), batch).compile()
    turns.ready(compiled_bytes=compiled_bytes(compiled))
    state, before = init(), None

    def step() -> None:
        nonlocal state, before
        state, metrics = compiled(state, batch)
        jax.block_until_ready(before)
        before = metrics

    train(step, turns)


if __name__ == "__main__":
    {"parity": parity, "ours": ours, "by_hand": by_hand}[sys.argv[1]](sys.argv[2], Turns())
