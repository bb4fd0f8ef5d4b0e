"""Runs that others published as MaxText cases are configs here: overrides, no code.

Their model has 1.104 billion parameters: 16 layers of 2048 with 16 heads of 128 and 7168 hidden
units, 32000 tokens with a head of its own; rows of 2048.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import Override
from axl_exp.model import num_params
from axl_exp.resolve import resolve

_LAYER = "model.decoder.transformer.layer"
_ATTENTION = f"{_LAYER}.self_attention.attention"
SIZES = {
    "model.decoder.vocab_size": 32000,
    "model.decoder.dim": 2048,
    "model.decoder.transformer.num_layers": 16,
    f"{_ATTENTION}.num_heads": 16,
    f"{_ATTENTION}.input_linear.input_linear.num_kv_heads": 16,
    f"{_LAYER}.feed_forward.hidden_dim": 7168,
    "input.max_sequence_length": 2048,
}
CASES: dict[str, dict[str, object]] = {
    "03_dropout": {"model.decoder.dropout_rate": 0.1},
    "04_int8": {
        "model.quantization.forward_dtype": "int8",
        "model.quantization.backward_dtype": "int8",
    },
    "05_fp8": {
        "model.quantization.forward_dtype": "float8_e4m3fn",
        "model.quantization.backward_dtype": "float8_e5m2",
    },
    # Every checkpoint is written beside the next steps.
    "08_checkpoint_async_true": {"checkpointer.save_policy.n": 1},
}
TINY = {
    "model.decoder.dim": 16,
    "model.decoder.transformer.num_layers": 1,
    f"{_LAYER}.feed_forward.hidden_dim": 32,
    "input.max_sequence_length": 32,
    "input.global_batch_size": 4,
}


def _overrides(*fields: dict) -> list[Override]:
    return [Override(path, str(value)) for each in fields for path, value in each.items()]


def test_their_model_has_as_many_parameters_here():
    resolved = resolve("fuji-8B-v3-tiktoken", overrides=_overrides(SIZES))
    assert round(num_params(resolved.config.model) / 1e9, 3) == 1.104  # pyright: ignore


@pytest.mark.parametrize("case", CASES)
def test_each_case_resolves_with_their_sizes(case):
    resolve("fuji-8B-v3-tiktoken", selector="tpu-v6e-8", overrides=_overrides(SIZES, CASES[case]))


@pytest.mark.parametrize("case", CASES)
def test_a_small_model_of_each_case_trains(case):
    resolved = resolve("fuji-tiny", selector="cpu-1", overrides=_overrides(TINY, CASES[case]))
    trainer = resolved.config.instantiate()  # pyright: ignore
    step, state = trainer.compile(), trainer.init_state()
    ids = np.random.default_rng(0).integers(1, 64, (4, 32), dtype=np.int32)
    ones = np.ones_like(ids)
    batch = {"inputs": ids, "targets": ids, "positions": np.tile(np.arange(32, dtype="i4"), (4, 1))}
    batch = trainer.put({**batch, "segment_ids": ones, "target_bytes": ones})
    losses = []
    for _ in range(2):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[1] < losses[0]
    assert int(jax.device_get(state.step)) == 2
    assert jnp.isfinite(losses[1])
