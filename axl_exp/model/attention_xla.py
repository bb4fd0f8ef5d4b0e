"""Attention in plain JAX: the reference of the kernels, and what runs where there is none.

B batch, S sequence of queries, T sequence of keys, N query heads, K key/value heads, G = N/K query
heads per key/value head, H head dim.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from axl_exp.model.qkv import QKV
from axl_exp.model.soft_cap import soft_cap

# What a masked logit becomes: its exponential is 0 in every dtype, and no sum of it overflows.
MASKED = -1e30


def attention_mask(segment_ids_BS: jax.Array, *, sliding_window: int | None = None) -> jax.Array:
    """Return which keys T each query S sees, [B, S, T]: those before and at it in its segment.

    With a sliding window, the last so many of them.
    """
    index_S = jnp.arange(segment_ids_BS.shape[1])
    is_seen_ST = index_S[:, None] >= index_S[None, :]
    if sliding_window is not None:
        is_seen_ST &= index_S[:, None] - index_S[None, :] < sliding_window
    is_same_BST = segment_ids_BS[:, :, None] == segment_ids_BS[:, None, :]
    return is_seen_ST & is_same_BST


def dot_product_attention(
    qkv: QKV,
    mask_BST: jax.Array,
    *,
    logit_cap: float | None = None,
    bias: jax.Array | None = None,
    drop: Callable[[jax.Array], jax.Array] = lambda probabilities: probabilities,
) -> jax.Array:
    """Return softmax(query · key) · value over the keys of the mask, [B, S, N, H].

    The softmax is float32. Each key/value head serves G neighbouring query heads (grouped-query
    attention, Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).

    Args:
        qkv: Scaled queries, keys and values.
        mask_BST: Which keys each query sees.
        logit_cap: Bounds the logits smoothly, see `soft_cap`.
        bias: [N, S, T] or [B, N, S, T]; is added to the logits, after the cap.
        drop: What dropout does to the probabilities.
    """
    query, key, value = qkv
    batch, seq, num_heads, head_dim = query.shape
    num_kv_heads = key.shape[2]
    query = query.reshape(batch, seq, num_kv_heads, -1, head_dim)
    logits = jnp.einsum("bskgh,btkh->bkgst", query, key, preferred_element_type=jnp.float32)
    if logit_cap is not None:
        logits = soft_cap(logits, logit_cap)
    if bias is not None:
        logits = logits + bias.reshape(*bias.shape[:-3], num_kv_heads, -1, *bias.shape[-2:])
    logits = jnp.where(mask_BST[:, None, None], logits, MASKED)
    probabilities = drop(jax.nn.softmax(logits, axis=-1).astype(value.dtype))
    context = jnp.einsum("bkgst,btkh->bskgh", probabilities, value)
    return context.reshape(batch, seq, num_heads, head_dim)
