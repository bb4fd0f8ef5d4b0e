"""One side of `tools.bench train`, in a process of its own: python -m tools.bench.train_side."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.processes import Turns, train

# Steps that no run of the benchmark reaches.
MAX_STEP = 100_000
PARITY_STEPS = 2


def ours(case_name: str, turns: Turns) -> None:
    """The whole trainer: its data pipeline, its loop, its records."""
    from axl_exp.run.layout import RunDir
    from axl_exp.train.session import Display, run_session
    from tools.bench.cases import CASES, make_trainer

    trainer = make_trainer(CASES[case_name], max_step=MAX_STEP)
    trainer.open_inputs(data_dir=None)
    compiled = trainer.compile()
    plan = trainer.plan().with_compiled(compiled)
    turns.ready(attention=plan.attention.name, compiled_bytes=plan.memory.compiled_bytes)
    with tempfile.TemporaryDirectory() as directory:
        run_session(
            trainer,
            compiled=compiled,
            plan=plan,
            run_dir=RunDir(Path(directory)),
            env={"config": case_name},
            display=Display(say=lambda text: None, on_step=lambda report: turns.step_done()),
            compile_seconds=0.0,
            started=time.perf_counter(),
        )


def parity(case_name: str, turns: Turns) -> None:
    """No side, but what makes them one benchmark: the sizes, and that the step by hand is ours."""
    from tools.bench.cases import CASES, make_trainer
    from tools.bench.parity import check_parity, sizes_of

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
    import jax

    from axl_exp.train.memory import compiled_bytes
    from tools.bench import bare

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


def by_torch(sizes_json: str, turns: Turns) -> None:
    """The same model and optimizer of transformers and PyTorch, eager."""
    import torch
    import transformers

    sizes: Any = json.loads(sizes_json)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    turns.ready(torch=torch.__version__, transformers=transformers.__version__)
    model: Any = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=sizes["vocab_size"],
            hidden_size=sizes["dim"],
            intermediate_size=sizes["feed_forward_dim"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_heads"],
            num_key_value_heads=sizes["num_kv_heads"],
            max_position_embeddings=sizes["sequence"],
            rms_norm_eps=sizes["norm_eps"],
            tie_word_embeddings=sizes["tied_head"],
            use_cache=False,
        )
    )
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=sizes["peak_learning_rate"],
        betas=(sizes["b1"], sizes["b2"]),
        eps=sizes["adam_eps"],
        weight_decay=sizes["weight_decay"],
    )
    shape = (sizes["batch"], sizes["sequence"])
    tokens = torch.randint(1, sizes["vocab_size"], shape, device=device)
    is_bf16 = sizes["dtype"] == "bfloat16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bf16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), sizes["max_norm"])
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    train(step, turns)


if __name__ == "__main__":
    {"parity": parity, "ours": ours, "by_hand": by_hand, "torch": by_torch}[sys.argv[1]](
        sys.argv[2], Turns()
    )
