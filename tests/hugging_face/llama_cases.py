"""Small Llamas in Hugging Face's terms, with weights that follow from their names alone.

Nothing here is of this package: the recorder hands these to transformers, the tests to our reader.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

_SCALED = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def _case(model_type: str, **fields: Any) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "max_position_embeddings": 64,
        "hidden_act": "silu",
        "pad_token_id": None,
        "rope_scaling": None,
        **fields,
    }


# fuji's recipe at three sizes, and its windowed relative.
CASES: dict[str, dict[str, Any]] = {
    "multi-head, tied": _case(
        "llama",
        vocab_size=61,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
    ),
    "grouped, separate head, Llama 3.1 positions": _case(
        "llama",
        vocab_size=97,
        hidden_size=48,
        intermediate_size=136,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        rms_norm_eps=1e-6,
        rope_theta=500000.0,
        rope_scaling=_SCALED,
        tie_word_embeddings=False,
    ),
    "multi-query, larger, Llama 3.1 positions": _case(
        "llama",
        vocab_size=512,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
        rope_scaling={**_SCALED, "factor": 32.0},
        tie_word_embeddings=True,
    ),
    "sliding window": _case(
        "mistral",
        vocab_size=61,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        sliding_window=5,
        tie_word_embeddings=False,
    ),
}

# So many of each gradient's projections are recorded.
NUM_PROJECTIONS = 4


def shapes(case: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model, by its name in the files."""
    dim, hidden, vocab = case["hidden_size"], case["intermediate_size"], case["vocab_size"]
    head_dim = dim // case["num_attention_heads"]
    kv = case["num_key_value_heads"] * head_dim
    layer = {
        "input_layernorm": (dim,),
        "post_attention_layernorm": (dim,),
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (kv, dim),
        "self_attn.v_proj": (kv, dim),
        "self_attn.o_proj": (dim, dim),
        "mlp.gate_proj": (hidden, dim),
        "mlp.up_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
    }
    names = {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,)}
    if not case["tie_word_embeddings"]:
        names["lm_head.weight"] = (vocab, dim)
    for i in range(case["num_hidden_layers"]):
        names |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return names


def weights(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return float32 weights: norms around 1, products so that activations keep their size."""
    return {name: _weight(name, shape) for name, shape in shapes(case).items()}


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    weight = 1 + 0.2 * noise if len(shape) == 1 else noise * shape[-1] ** -0.5
    return weight.astype(np.float32)


def tokens(case: dict[str, Any]) -> np.ndarray:
    """Return two rows of 41 token ids from 1: 40 inputs and the targets that follow them."""
    return np.random.default_rng(7).integers(1, case["vocab_size"], (2, 41))


def projections(name: str, gradient: np.ndarray) -> np.ndarray:
    """Return products of a gradient with random unit vectors, which differ if it does."""
    rng = np.random.default_rng(zlib.crc32(f"projections of {name}".encode()))
    vectors = rng.standard_normal((NUM_PROJECTIONS, gradient.size))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ gradient.astype(np.float64).ravel()
