"""A model config small enough to run in a test, with grouped queries and odd sizes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.model import CausalLM, LmHead

ModelConfigFn = Callable[..., CausalLM.Config]


def _model_config(
    *,
    vocab_size: int = 64,
    dim: int = 24,
    num_layers: int = 3,
    num_heads: int = 6,
    num_kv_heads: int = 2,
    hidden_dim: int = 40,
    tied_head: bool = True,
) -> CausalLM.Config:
    cfg = CausalLM.default_config()
    cfg.decoder.set(vocab_size=vocab_size, dim=dim)
    if not tied_head:
        cfg.decoder.lm_head = LmHead.default_config()
    cfg.decoder.transformer.num_layers = num_layers
    layer = cfg.decoder.transformer.layer
    layer.self_attention.attention.num_heads = num_heads
    layer.self_attention.attention.input_linear.input_linear.num_kv_heads = num_kv_heads
    layer.feed_forward.hidden_dim = hidden_dim
    return cfg


@pytest.fixture(scope="session")
def model_config() -> ModelConfigFn:
    """A function that returns a config of a CausalLM of the sizes asked."""
    return _model_config


@pytest.fixture(scope="session")
def packed_batch() -> dict[str, jax.Array]:
    """Two rows of 16 tokens: documents of 5, 7 and 3 with a place of padding; and of 16."""
    rng = np.random.default_rng(0)
    lengths = [[5, 7, 3, 1], [16]]
    segments = [[1] * 5 + [2] * 7 + [3] * 3 + [0], [1] * 16]
    positions = [[p for length in row for p in range(length)] for row in lengths]
    batch = {
        "inputs": rng.integers(1, 64, (2, 16)),
        "targets": rng.integers(1, 64, (2, 16)),
        "positions": positions,
        "segment_ids": segments,
        "target_bytes": rng.integers(0, 9, (2, 16)),
    }
    return {name: jnp.asarray(value, jnp.int32) for name, value in batch.items()}
