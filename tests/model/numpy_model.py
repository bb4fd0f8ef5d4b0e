"""The whole model a second time: plain NumPy, float64, one loop per idea."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from flax import nnx

EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Options:
    """What of the mathematics the parameters do not say."""

    num_layers: int = 3
    num_heads: int = 6
    attention_structure: str = "prenorm"
    feed_forward_structure: str = "prenorm"
    residual_weight: float = 1.0
    activation: str = "silu"
    theta: float | None = 10000.0
    pairs: str = "interleaved"
    slow_pairs_factor: float = 1.0
    original_max_positions: int = 8192
    rotates_values: bool = False
    window: int | None = None
    attention_cap: float = math.inf
    output_cap: float = math.inf
    slopes: tuple[float, ...] | None = None


def numpy_params(model: nnx.Module) -> Any:
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * scale


def capped(x, cap):
    return x if cap == math.inf else cap * np.tanh(x / cap)


def frequency(r, head_dim, options):
    """Radians per position of pair r; the scaling as Llama 3.1 words it, by wavelengths."""
    plain = options.theta ** (-2 * r / head_dim)
    if options.slow_pairs_factor == 1:
        return plain
    wavelength = 2 * math.pi / plain
    longest, shortest = options.original_max_positions / 1, options.original_max_positions / 4
    if wavelength < shortest:
        return plain
    if wavelength > longest:
        return plain / options.slow_pairs_factor
    smooth = (options.original_max_positions / wavelength - 1) / (4 - 1)
    return (1 - smooth) * plain / options.slow_pairs_factor + smooth * plain


def rotated(x, position, options):
    """x [heads, H], each pair as a complex number that is turned by its angle."""
    head_dim = x.shape[-1]
    output = np.empty_like(x)
    for r in range(head_dim // 2):
        i, j = (2 * r, 2 * r + 1) if options.pairs == "interleaved" else (r, r + head_dim // 2)
        angle = position * frequency(r, head_dim, options)
        turned = (x[:, i] + 1j * x[:, j]) * np.exp(1j * angle)
        output[:, i], output[:, j] = turned.real, turned.imag
    return output


def attention(x, weights, positions, segments, options):
    """One row, x [S, D], position by position and head by head."""
    num_heads = options.num_heads
    product = weights["i_proj"]
    product = product.get("i_proj", product)  # rotary embedding wraps the product
    qkv = np.einsum("sd,dnh->snh", x, product["qkv_proj"]["weight"])
    num_kv_heads = (qkv.shape[1] - num_heads) // 2
    parts = np.split(qkv, [num_heads, num_heads + num_kv_heads], axis=1)
    if options.theta is not None:
        for i in range(3 if options.rotates_values else 2):
            pairs = zip(parts[i], positions, strict=True)
            parts[i] = np.stack([rotated(part, p, options) for part, p in pairs])
    query, key, value = parts
    if "norm" in weights.get("scale_query", {}):
        query = norm(query, weights["scale_query"]["norm"]["scale"])
    if "norm" in weights.get("scale_key", {}):
        key = norm(key, weights["scale_key"]["norm"]["scale"])
    output = np.zeros_like(x)
    for s in range(len(x)):
        seen = [t for t in range(s + 1) if segments[t] == segments[s]]
        seen = seen if options.window is None else seen[-options.window :]
        for n in range(num_heads):
            kv = n // (num_heads // num_kv_heads)
            logits = np.array([query[s, n] @ key[t, kv] for t in seen]) / np.sqrt(query.shape[-1])
            logits = capped(logits, options.attention_cap)
            if options.slopes is not None:
                logits -= options.slopes[n] * np.array([positions[s] - positions[t] for t in seen])
            probabilities = np.exp(logits) / np.exp(logits).sum()
            context = sum(p * value[t, kv] for p, t in zip(probabilities, seen, strict=True))
            output[s] += weights["o_proj"]["weight"][:, n] @ context
    return output


def activated(x, name):
    if name == "silu":
        return x / (1 + np.exp(-x))
    if name == "relu":
        return np.maximum(x, 0)
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))  # gelu


def feed_forward(x, weights, options):
    if "linear1" in weights:
        hidden = activated(x @ weights["linear1"]["weight"], options.activation)
    else:
        gate = activated(x @ weights["linear1_0"]["weight"], options.activation)
        hidden = gate * (x @ weights["linear1_1"]["weight"])
    return hidden @ weights["linear2"]["weight"]


def with_branch(x, branch, weights, structure, weight):
    if structure == "prenorm":
        return x + weight * branch(norm(x, weights["norm"]["scale"]))
    if structure == "postnorm":
        return norm(x + weight * branch(x), weights["norm"]["scale"])
    output = branch(norm(x, weights["prenorm"]["scale"]))
    return x + weight * norm(output, weights["postnorm"]["scale"])


def numpy_logits(params: Any, batch: Any, options: Options = Options()) -> np.ndarray:  # noqa: B008
    """The logits [B, S, V] of the batch."""
    decoder = params["decoder"]
    table = decoder["emb"]["token_emb"]["weight"]
    head = decoder["lm_head"]["weight"] if "lm_head" in decoder else table
    rows = []
    for inputs, positions, segments in zip(
        *(np.asarray(batch[name]) for name in ("inputs", "positions", "segment_ids")), strict=True
    ):
        x = table[inputs]
        for i in range(options.num_layers):
            layer = jax.tree.map(lambda w, i=i: w[i], decoder["transformer"]["layer"])
            first, second = layer["self_attention"], layer["feed_forward"]
            x = with_branch(
                x,
                lambda x, w=first["attention"], p=positions, s=segments: attention(
                    x, w, p, s, options
                ),
                first,
                options.attention_structure,
                1.0,
            )
            x = with_branch(
                x,
                lambda x, w=second: feed_forward(x, w, options),
                second,
                options.feed_forward_structure,
                options.residual_weight,
            )
        rows.append(norm(x, decoder["output_norm"]["scale"]) @ head.T)
    return capped(np.stack(rows), options.output_cap)
