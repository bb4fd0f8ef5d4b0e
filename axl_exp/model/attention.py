"""Causal attention within documents.

B batch, S sequence of queries, T sequence of keys, D model dim, N query heads, K key/value heads,
G = N/K query heads per key/value head, H head dim.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.norm import RMSNorm
from axl_exp.model.qkv import QKV, MultiheadOutputLinear, RoFormerQKVLinear

# What a masked logit becomes: its exponential is 0 in every dtype, and no sum of it overflows.
_MASKED = -1e30


def attention_mask(segment_ids_BS: jax.Array) -> jax.Array:
    """Return which keys T each query S sees, [B, S, T]: those before and at it in its segment."""
    index_S = jnp.arange(segment_ids_BS.shape[1])
    is_causal_ST = index_S[:, None] >= index_S[None, :]
    is_same_BST = segment_ids_BS[:, :, None] == segment_ids_BS[:, None, :]
    return is_causal_ST & is_same_BST


def dot_product_attention(qkv: QKV, mask_BST: jax.Array) -> jax.Array:
    """Return softmax(query · key / sqrt(H)) · value over the keys of the mask, [B, S, N, H].

    The softmax is float32. Each key/value head serves G neighbouring query heads (grouped-query
    attention, Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).
    """
    query, key, value = qkv
    batch, seq, num_heads, head_dim = query.shape
    num_kv_heads = key.shape[2]
    query = (query * head_dim**-0.5).reshape(batch, seq, num_kv_heads, -1, head_dim)
    logits = jnp.einsum("bskgh,btkh->bkgst", query, key, preferred_element_type=jnp.float32)
    logits = jnp.where(mask_BST[:, None, None], logits, _MASKED)
    probabilities = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    context = jnp.einsum("bkgst,btkh->bskgh", probabilities, value)
    return context.reshape(batch, seq, num_heads, head_dim)


class GroupedQueryAttention(BaseLayer):
    """Attention with num_heads query heads that share the key/value heads of its input product."""

    @config_class
    class Config(Configurable.Config):
        """The heads and the products around them."""

        # Query heads; they divide the model dim.
        num_heads: Required[int] = REQUIRED
        # To queries, keys and values.
        input_linear: InstantiableConfig = RoFormerQKVLinear.default_config()
        # From the heads' outputs back to the model dim.
        output_linear: InstantiableConfig = MultiheadOutputLinear.default_config()

    def __init__(self, cfg: Config, *, dim: int, param_init: DefaultInitializer, rngs: nnx.Rngs):
        if dim % cfg.num_heads:
            raise UserError(
                f"decoder.dim {dim} does not divide by num_heads {cfg.num_heads}; change one."
            )
        self.num_heads = cfg.num_heads
        self.head_dim = dim // cfg.num_heads
        sizes = {"dim": dim, "num_heads": self.num_heads, "head_dim": self.head_dim}
        self.i_proj = cfg.input_linear.instantiate(**sizes, param_init=param_init, rngs=rngs)
        self.o_proj = cfg.output_linear.instantiate(**sizes, param_init=param_init, rngs=rngs)

    def __call__(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, segment_ids_BS: jax.Array
    ) -> jax.Array:
        """Return [B, S, D]; `positions_BS` restart in each document, `segment_ids_BS` name it."""
        qkv = self.i_proj(x_BSD, positions_BS=positions_BS)
        qkv = QKV(
            query=checkpoint_name(qkv.query, "q_proj"),
            key=checkpoint_name(qkv.key, "k_proj"),
            value=checkpoint_name(qkv.value, "v_proj"),
        )
        context = dot_product_attention(qkv, attention_mask(segment_ids_BS))
        return checkpoint_name(self.o_proj(checkpoint_name(context, "context")), "o_proj")


class TransformerAttentionLayer(BaseLayer):
    """x + attention(norm(x))."""

    @config_class
    class Config(Configurable.Config):
        """The parts."""

        # Before attention.
        norm: InstantiableConfig = RMSNorm.default_config()
        # Across positions.
        attention: InstantiableConfig = GroupedQueryAttention.default_config()

    def __init__(self, cfg: Config, *, dim: int, param_init: DefaultInitializer, rngs: nnx.Rngs):
        self.norm = cfg.norm.instantiate(dim=dim)
        self.attention = cfg.attention.instantiate(dim=dim, param_init=param_init, rngs=rngs)

    def __call__(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, segment_ids_BS: jax.Array
    ) -> jax.Array:
        """Return [B, S, D]."""
        return x_BSD + self.attention(
            self.norm(x_BSD), positions_BS=positions_BS, segment_ids_BS=segment_ids_BS
        )
