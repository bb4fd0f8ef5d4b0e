"""Attention a block of queries at a time, in plain JAX: what a CPU computes fast.

B batch, S sequence of queries, T keys that a block sees, N query heads, K key/value heads, G = N/K
query heads per key/value head, Q queries of a block, H head dim.
"""

import jax
import jax.numpy as jnp

from axl_exp.model.attention_xla import MASKED
from axl_exp.model.qkv import QKV
from axl_exp.model.soft_cap import soft_cap

# A block's logits stay near a core's caches. More than MAX_BLOCKS would take long to compile.
_MIN_QUERIES = 64
_MAX_BLOCKS = 16


def blocks_attention(
    qkv: QKV,
    segment_ids_BS: jax.Array,
    *,
    sliding_window: int | None = None,
    logit_cap: float | None = None,
) -> jax.Array:
    """Return causal attention within segments, [B, S, N, H], of scaled queries.

    The numbers of `dot_product_attention`, but for the order of sums: keys after a block of queries
    or before its window are left out, the sum of exponentials divides the context in place of every
    probability, and each product is one of plain matrices, which XLA's CPU backend hands to its
    library without copies.
    """
    query, key, value = qkv
    batch, seq, num_heads, head_dim = query.shape
    num_kv_heads = key.shape[2]
    query = query.reshape(batch, seq, num_kv_heads, -1, head_dim).transpose(0, 2, 3, 1, 4)
    key, value = key.swapaxes(1, 2), value.swapaxes(1, 2)
    size = max(_MIN_QUERIES, -(-seq // _MAX_BLOCKS))
    contexts = []
    for begin in range(0, seq, size):
        end = min(begin + size, seq)
        first = 0 if sliding_window is None else max(0, begin - sliding_window + 1)
        is_seen_BQT = _is_seen(segment_ids_BS, begin, end, first, sliding_window)
        contexts.append(
            _attend(
                query[:, :, :, begin:end],
                key[:, :, first:end],
                value[:, :, first:end],
                # Added, since a choice between two values takes three times as long here.
                jnp.where(is_seen_BQT, 0.0, MASKED),
                logit_cap,
            )
        )
    context_BKGSH = jnp.concatenate(contexts, axis=3)
    return context_BKGSH.transpose(0, 3, 1, 2, 4).reshape(batch, seq, num_heads, head_dim)


def _is_seen(
    segment_ids_BS: jax.Array, begin: int, end: int, first: int, sliding_window: int | None
) -> jax.Array:
    """Return which of the keys `first` to `end` the queries `begin` to `end` see, [B, Q, T]."""
    distance_QT = jnp.arange(begin, end)[:, None] - jnp.arange(first, end)[None, :]
    is_seen_QT = distance_QT >= 0
    if sliding_window is not None:
        is_seen_QT &= distance_QT < sliding_window
    queries, keys = segment_ids_BS[:, begin:end, None], segment_ids_BS[:, None, first:end]
    return is_seen_QT & (queries == keys)


def _attend(
    query_BKGQH: jax.Array,
    key_BKTH: jax.Array,
    value_BKTH: jax.Array,
    bias_BQT: jax.Array,
    logit_cap: float | None,
) -> jax.Array:
    """Return the context of a block, [B, K, G, Q, H]."""
    *heads, num_queries, head_dim = query_BKGQH.shape
    rows = query_BKGQH.reshape(*heads[:2], -1, head_dim)
    logits = jnp.einsum("bkrh,bkth->bkrt", rows, key_BKTH, preferred_element_type=jnp.float32)
    logits = logits.reshape(*heads, num_queries, -1)
    if logit_cap is not None:
        logits = soft_cap(logits, logit_cap)
    logits = logits + bias_BQT[:, None, None]
    # Its gradient is 0: whatever is subtracted here divides out below.
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    sums = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(value_BKTH.dtype).reshape(*heads[:2], -1, key_BKTH.shape[2])
    context = jnp.einsum("bkrt,bkth->bkrh", weights, value_BKTH, preferred_element_type=jnp.float32)
    context = context.reshape(*heads, num_queries, head_dim) / sums
    return context.astype(value_BKTH.dtype)
