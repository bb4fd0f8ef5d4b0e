"""A training step of a Llama-like model by hand: what our trainer is measured against.

One file, plain functions, a dict of parameters, JAX and nothing of ours; the way a person who knows
JAX would write it. The mathematics are those of the fuji recipes: RMSNorm before each half of a
layer, rotary embedding on neighbouring pairs, grouped-query attention within documents, SwiGLU, a
head that may be the embedding, z-loss, AdamW with clipping by the global norm. In bfloat16 on a GPU
attention is cuDNN's.

    python tools/bench/bare.py '{"num_steps": 3}'

trains on random tokens and prints the seconds of each stage as JSON; the keys of the argument are
the fields of Sizes and `num_steps`.

B batch, S sequence (T of keys), D model dim, N query heads, K key/value heads, G = N/K, H head dim,
F feed-forward dim, V vocabulary, L layers.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from functools import partial
from typing import Any

START_SECONDS = time.monotonic()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.ad_checkpoint import checkpoint_name  # noqa: E402

Params = dict[str, Any]
# What the backward pass of a layer with `remat` finds.
KEPT = "kept"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the step is compiled for; the benchmarks take it from a config of ours."""

    vocab_size: int = 8192
    dim: int = 256
    num_layers: int = 4
    num_heads: int = 8
    num_kv_heads: int = 4
    feed_forward_dim: int = 768
    batch: int = 16
    sequence: int = 128
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    z_loss_scale: float = 0.0
    tied_head: bool = True
    # Of the products; parameters, norms and the softmax are float32.
    dtype: str = "float32"
    # Keep only queries, keys, values and the products of attention for the backward pass.
    remat: bool = False
    # Layers per turn of the compiled loop.
    unroll: int | bool = 1
    # AdamW and its schedule: linear warm-up, then a cosine down to alpha · peak.
    peak_learning_rate: float = 3e-3
    warmup_steps: int = 30
    max_step: int = 300
    alpha: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    adam_eps: float = 1e-8
    weight_decay: float = 0.1
    max_norm: float = 1.0
    # Of Adam's first moment.
    mu_dtype: str = "float32"

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads


def init_params(sizes: Sizes, key: jax.Array) -> Params:
    """Return float32 parameters: normal with variance 1/fan_in, scales 1."""
    layers, dim, hidden = sizes.num_layers, sizes.dim, sizes.feed_forward_dim
    num_qkv = sizes.num_heads + 2 * sizes.num_kv_heads
    keys = iter(jax.random.split(key, 7))

    def normal(*shape: int, fan_in: int) -> jax.Array:
        return jax.random.normal(next(keys), shape) * fan_in**-0.5

    params = {
        "embedding": normal(sizes.vocab_size, dim, fan_in=dim),
        "layers": {
            "attention_norm": jnp.ones((layers, dim)),
            "qkv": normal(layers, dim, num_qkv, sizes.head_dim, fan_in=dim),
            "out": normal(layers, dim, sizes.num_heads, sizes.head_dim, fan_in=dim),
            "feed_forward_norm": jnp.ones((layers, dim)),
            "gate": normal(layers, dim, hidden, fan_in=dim),
            "up": normal(layers, dim, hidden, fan_in=dim),
            "down": normal(layers, hidden, dim, fan_in=hidden),
        },
        "norm": jnp.ones(dim),
    }
    if not sizes.tied_head:
        params["head"] = normal(sizes.vocab_size, dim, fan_in=dim)
    return params


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    x32 = x.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
    return normed.astype(x.dtype) * scale


def rotate(x_BSNH: jax.Array, sin_BSR: jax.Array, cos_BSR: jax.Array) -> jax.Array:
    x = x_BSNH.astype(jnp.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    sin, cos = sin_BSR[:, :, None], cos_BSR[:, :, None]
    turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return turned.reshape(x_BSNH.shape).astype(x_BSNH.dtype)


def attention(
    sizes: Sizes,
    layer: Params,
    x_BSD: jax.Array,
    rotation: tuple[jax.Array, jax.Array],
    mask_BST: jax.Array,
) -> jax.Array:
    batch, seq, dim = x_BSD.shape
    num_kv_heads = sizes.num_kv_heads
    qkv = (x_BSD @ layer["qkv"].reshape(dim, -1)).reshape(batch, seq, -1, sizes.head_dim)
    parts = (sizes.num_heads, sizes.num_heads + num_kv_heads)
    query, key, value = jnp.split(qkv, parts, axis=2)
    query, key = rotate(query, *rotation), rotate(key, *rotation)
    query, key, value = (checkpoint_name(x, KEPT) for x in (query, key, value))
    if sizes.dtype == "bfloat16" and jax.default_backend() == "gpu":
        # cuDNN leaves out what is above the diagonal only if it is told so beside the mask.
        context = jax.nn.dot_product_attention(
            query, key, value, mask=mask_BST[:, None], is_causal=True, implementation="cudnn"
        )
    else:
        query = query.reshape(batch, seq, num_kv_heads, -1, sizes.head_dim) * sizes.head_dim**-0.5
        logits = jnp.einsum("bskgh,btkh->bkgst", query, key, preferred_element_type=jnp.float32)
        logits = jnp.where(mask_BST[:, None, None], logits, -1e30)
        probabilities = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
        context = jnp.einsum("bkgst,btkh->bskgh", probabilities, value)
    context = checkpoint_name(context.reshape(batch, seq, dim), KEPT)
    return checkpoint_name(context @ layer["out"].reshape(dim, dim).T, KEPT)


def feed_forward(layer: Params, x_BSD: jax.Array) -> jax.Array:
    return (jax.nn.silu(x_BSD @ layer["gate"]) * (x_BSD @ layer["up"])) @ layer["down"]


def loss_fn(sizes: Sizes, params: Params, batch: dict[str, jax.Array]) -> jax.Array:
    """Return the mean cross-entropy over the targets that are not padding, plus the z-loss."""
    positions, segments = batch["positions"], batch["segment_ids"]
    params = jax.tree.map(lambda p: p.astype(sizes.dtype), params)
    exponents_R = jnp.arange(0, sizes.head_dim, 2) / sizes.head_dim
    angles_BSR = positions[..., None] * sizes.rope_theta**-exponents_R
    rotation = (jnp.sin(angles_BSR), jnp.cos(angles_BSR))
    causal_ST = jnp.tril(jnp.ones((sizes.sequence, sizes.sequence), bool))
    mask_BST = causal_ST & (segments[:, :, None] == segments[:, None, :])

    def layer_fn(x_BSD: jax.Array, layer: Params) -> tuple[jax.Array, None]:
        normed = rms_norm(x_BSD, layer["attention_norm"], sizes.norm_eps)
        x_BSD = x_BSD + attention(sizes, layer, normed, rotation, mask_BST)
        normed = rms_norm(x_BSD, layer["feed_forward_norm"], sizes.norm_eps)
        return x_BSD + feed_forward(layer, normed), None

    if sizes.remat:
        policy = jax.checkpoint_policies.save_only_these_names(KEPT)
        layer_fn = jax.checkpoint(layer_fn, prevent_cse=False, policy=policy)
    x_BSD = params["embedding"][batch["inputs"]]
    x_BSD, _ = jax.lax.scan(layer_fn, x_BSD, params["layers"], unroll=sizes.unroll)
    head_VD = params["embedding" if sizes.tied_head else "head"]
    logits_BSV = (rms_norm(x_BSD, params["norm"], sizes.norm_eps) @ head_VD.T).astype(jnp.float32)
    log_z_BS = jax.nn.logsumexp(logits_BSV, axis=-1)
    target_BS = jnp.take_along_axis(logits_BSV, batch["targets"][..., None], axis=-1)[..., 0]
    losses_BS = log_z_BS - target_BS + sizes.z_loss_scale * log_z_BS**2
    weights_BS = (segments != 0) & (batch["targets"] != 0)
    return jnp.sum(losses_BS * weights_BS) / jnp.maximum(jnp.sum(weights_BS), 1)


def learning_rate(sizes: Sizes, count: jax.Array) -> jax.Array:
    """Return the rate of update number `count`, from 1."""
    warmup = count / max(sizes.warmup_steps, 1)
    progress = (count - sizes.warmup_steps) / max(sizes.max_step - sizes.warmup_steps, 1)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
    decay = sizes.alpha + (1 - sizes.alpha) * cosine
    return sizes.peak_learning_rate * jnp.where(count < sizes.warmup_steps, warmup, decay)


def init_state(params: Params, *, mu_dtype: str = "float32") -> Params:
    """Return parameters, both moments of Adam, and the number of updates done."""
    return {
        "params": params,
        "m": jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params),
        "v": jax.tree.map(jnp.zeros_like, params),
        "count": jnp.zeros((), jnp.int32),
    }


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    sizes: Sizes, state: Params, batch: dict[str, jax.Array]
) -> tuple[Params, dict[str, jax.Array]]:
    """Return the next state, and the loss and gradient norm of this step."""
    loss, grads = jax.value_and_grad(partial(loss_fn, sizes))(state["params"], batch)
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(grads)))
    clip = jnp.minimum(1.0, sizes.max_norm / (norm + 1e-8))
    count = state["count"] + 1
    rate = learning_rate(sizes, count)

    def update(param: jax.Array, grad: jax.Array, m: jax.Array, v: jax.Array):
        grad = grad * clip
        m = sizes.b1 * m + (1 - sizes.b1) * grad
        v = sizes.b2 * v + (1 - sizes.b2) * grad * grad
        direction = (m / (1 - sizes.b1**count)) / (
            jnp.sqrt(v / (1 - sizes.b2**count)) + sizes.adam_eps
        )
        return param - rate * (direction + sizes.weight_decay * param), m.astype(sizes.mu_dtype), v

    updated = jax.tree.map(update, state["params"], grads, state["m"], state["v"])
    params, m, v = jax.tree.transpose(
        jax.tree.structure(grads), jax.tree.structure((0, 0, 0)), updated
    )
    new_state = {"params": params, "m": m, "v": v, "count": count}
    return new_state, {"loss": loss, "gradient_norm": norm}


def random_batch(sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return tokens without structure, two documents in each row."""
    shape = (sizes.batch, sizes.sequence)
    tokens = rng.integers(1, sizes.vocab_size, (sizes.batch, sizes.sequence + 1), np.int32)
    half = sizes.sequence // 2
    index = np.broadcast_to(np.arange(sizes.sequence, dtype=np.int32), shape)
    return {
        "inputs": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "segment_ids": np.where(index < half, 1, 2).astype(np.int32),
        "positions": np.where(index < half, index, index - half).astype(np.int32),
    }


def main(arguments: list[str]) -> int:
    """Train for a few steps; print the seconds of each stage since the start, and the losses."""
    fields = json.loads(arguments[0]) if arguments else {}
    num_steps = fields.pop("num_steps", 3)
    sizes = Sizes(**fields)
    seconds = {"import": time.monotonic() - START_SECONDS}
    init = jax.jit(
        lambda: init_state(init_params(sizes, jax.random.key(0)), mu_dtype=sizes.mu_dtype)
    )
    state = jax.block_until_ready(init())
    seconds["init"] = time.monotonic() - START_SECONDS
    rng = np.random.default_rng(0)
    losses = []
    for step in range(num_steps):
        state, metrics = train_step(sizes, state, random_batch(sizes, rng))
        losses.append(float(metrics["loss"]))
        if step == 0:
            seconds["first_step"] = time.monotonic() - START_SECONDS
            print(json.dumps({"seconds": seconds}), flush=True)
    seconds["last_step"] = time.monotonic() - START_SECONDS
    print(json.dumps({"seconds": seconds, "losses": losses}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
