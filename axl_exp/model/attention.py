"""Causal attention within documents.

B batch, S sequence of queries, T sequence of keys, D model dim, N query heads, K key/value heads,
G = N/K query heads per key/value head, H head dim.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from axl_exp.config import (
    REQUIRED,
    Configurable,
    InstantiableConfig,
    Required,
    config_class,
    maybe_instantiate,
)
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer
from axl_exp.model.dropout import Dropout, Key
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.qkv import QKV, MultiheadOutputLinear, RoFormerQKVLinear
from axl_exp.model.residual import ResidualLayer
from axl_exp.model.soft_cap import soft_cap

# What a masked logit becomes: its exponential is 0 in every dtype, and no sum of it overflows.
_MASKED = -1e30


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
    bias_NST: jax.Array | None = None,
    drop: Callable[[jax.Array], jax.Array] = lambda probabilities: probabilities,
) -> jax.Array:
    """Return softmax(query · key) · value over the keys of the mask, [B, S, N, H].

    The softmax is float32. Each key/value head serves G neighbouring query heads (grouped-query
    attention, Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).

    Args:
        qkv: Scaled queries, keys and values.
        mask_BST: Which keys each query sees.
        logit_cap: Bounds the logits smoothly, see `soft_cap`.
        bias_NST: Is added to the logits, after the cap.
        drop: What dropout does to the probabilities.
    """
    query, key, value = qkv
    batch, seq, num_heads, head_dim = query.shape
    num_kv_heads = key.shape[2]
    query = query.reshape(batch, seq, num_kv_heads, -1, head_dim)
    logits = jnp.einsum("bskgh,btkh->bkgst", query, key, preferred_element_type=jnp.float32)
    if logit_cap is not None:
        logits = soft_cap(logits, logit_cap)
    if bias_NST is not None:
        logits = logits + bias_NST.reshape(num_kv_heads, -1, *bias_NST.shape[1:])
    logits = jnp.where(mask_BST[:, None, None], logits, _MASKED)
    probabilities = drop(jax.nn.softmax(logits, axis=-1).astype(value.dtype))
    context = jnp.einsum("bkgst,btkh->bskgh", probabilities, value)
    return context.reshape(batch, seq, num_heads, head_dim)


class ScaleQuery(BaseLayer):
    """norm(query) / sqrt(H), so that logits of queries and keys of variance 1 have variance 1."""

    @config_class
    class Config(Configurable.Config):
        """What comes before the scale."""

        # Over the units of each head (Dehghani et al. 2023, arXiv 2302.05442); None: no norm.
        norm: InstantiableConfig | None = None

    def __init__(self, cfg: Config, *, head_dim: int):
        self.norm = maybe_instantiate(cfg.norm, dim=head_dim)

    def __call__(self, query: jax.Array) -> jax.Array:
        """Return the scaled queries, [B, S, N, H]."""
        normed = query if self.norm is None else self.norm(query)
        return normed * query.shape[-1] ** -0.5


class ScaleKey(BaseLayer):
    """norm(key)."""

    @config_class
    class Config(Configurable.Config):
        """The norm."""

        # Over the units of each head; None: keys stay as they are.
        norm: InstantiableConfig | None = None

    def __init__(self, cfg: Config, *, head_dim: int):
        self.norm = maybe_instantiate(cfg.norm, dim=head_dim)

    def __call__(self, key: jax.Array) -> jax.Array:
        """Return the keys, [B, S, K, H]."""
        return key if self.norm is None else self.norm(key)


class GroupedQueryAttention(BaseLayer):
    """Causal attention with num_heads query heads that share the key/value heads of its input."""

    @config_class
    class Config(Configurable.Config):
        """The heads, the products around them, and what becomes of their logits."""

        # Query heads; they divide the model dim.
        num_heads: Required[int] = REQUIRED
        # To queries, keys and values.
        input_linear: InstantiableConfig = RoFormerQKVLinear.default_config()
        # What becomes of queries and keys once they carry their positions.
        query_scale: InstantiableConfig = ScaleQuery.default_config()
        key_scale: InstantiableConfig = ScaleKey.default_config()
        # Each query sees the last so many keys, its own among them; None: all before it.
        sliding_window: int | None = None
        # Keeps logits within ±cap, smoothly; None: as they are.
        logit_cap: float | None = None
        # What is added to logits by the distance of query and key, such as ALiBi; None: nothing.
        logit_bias: InstantiableConfig | None = None
        # Of the probabilities.
        dropout: InstantiableConfig = Dropout.default_config()
        # From the heads' outputs back to the model dim.
        output_linear: InstantiableConfig = MultiheadOutputLinear.default_config()

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        dropout_rate: float = 0.0,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        if dim % cfg.num_heads:
            raise UserError(
                f"decoder.dim {dim} does not divide by num_heads {cfg.num_heads}; change one."
            )
        if cfg.sliding_window is not None and cfg.sliding_window < 1:
            raise UserError(
                f"attention.sliding_window {cfg.sliding_window} leaves a query no key; its own is "
                "the first: set 1 or more, or None to see all."
            )
        self.num_heads = cfg.num_heads
        self.head_dim = dim // cfg.num_heads
        self.sliding_window = cfg.sliding_window
        self.logit_cap = cfg.logit_cap
        sizes = {"dim": dim, "num_heads": self.num_heads, "head_dim": self.head_dim}
        self.i_proj = cfg.input_linear.instantiate(**sizes, param_init=param_init, rngs=rngs)
        self.scale_query = cfg.query_scale.instantiate(head_dim=self.head_dim)
        self.scale_key = cfg.key_scale.instantiate(head_dim=self.head_dim)
        self.logit_bias = maybe_instantiate(cfg.logit_bias, num_heads=self.num_heads)
        self.dropout = cfg.dropout.instantiate(default_rate=dropout_rate)
        self.o_proj = cfg.output_linear.instantiate(**sizes, param_init=param_init, rngs=rngs)

    def __call__(
        self,
        x_BSD: jax.Array,
        *,
        positions_BS: jax.Array,
        segment_ids_BS: jax.Array,
        key: Key = None,
    ) -> jax.Array:
        """Return [B, S, D]; `positions_BS` restart in each document, `segment_ids_BS` name it."""
        qkv = self.i_proj(x_BSD, positions_BS=positions_BS)
        qkv = QKV(
            query=checkpoint_name(qkv.query, "q_proj"),
            key=checkpoint_name(qkv.key, "k_proj"),
            value=checkpoint_name(qkv.value, "v_proj"),
        )
        mask_BST = attention_mask(segment_ids_BS, sliding_window=self.sliding_window)
        context = dot_product_attention(
            QKV(self.scale_query(qkv.query), self.scale_key(qkv.key), qkv.value),
            mask_BST,
            logit_cap=self.logit_cap,
            bias_NST=None if self.logit_bias is None else self.logit_bias(x_BSD.shape[1]),
            drop=lambda probabilities: self.dropout(probabilities, key=key),
        )
        return checkpoint_name(self.o_proj(checkpoint_name(context, "context")), "o_proj")


class TransformerAttentionLayer(ResidualLayer):
    """x + attention(norm(x)), or as `structure` says."""

    @config_class
    class Config(ResidualLayer.Config):
        """The branch, and what surrounds it."""

        # Across positions.
        attention: InstantiableConfig = GroupedQueryAttention.default_config()

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        dropout_rate: float = 0.0,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        super().__init__(cfg, dim=dim, dropout_rate=dropout_rate)
        self.attention = cfg.attention.instantiate(
            dim=dim, dropout_rate=dropout_rate, param_init=param_init, rngs=rngs
        )

    def __call__(
        self,
        x_BSD: jax.Array,
        *,
        positions_BS: jax.Array,
        segment_ids_BS: jax.Array,
        key: Key = None,
    ) -> jax.Array:
        """Return [B, S, D]."""

        def branch(x_BSD: jax.Array, key: Key) -> jax.Array:
            return self.attention(
                x_BSD, positions_BS=positions_BS, segment_ids_BS=segment_ids_BS, key=key
            )

        return self.add_branch(x_BSD, branch, key=key)
