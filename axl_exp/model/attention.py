"""Causal attention within documents.

B batch, S sequence, D model dim, N query heads, K key/value heads, H head dim.
"""

from typing import Any

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
from axl_exp.model.attention_backend import (
    AttentionCase,
    Backend,
    BackendName,
    SplashSpec,
    choose_backend,
)
from axl_exp.model.attention_blocks import blocks_attention
from axl_exp.model.attention_cudnn import cudnn_attention
from axl_exp.model.attention_splash import splash_attention
from axl_exp.model.attention_xla import attention_mask, dot_product_attention
from axl_exp.model.base import BaseLayer
from axl_exp.model.dropout import Dropout, Key
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.kv_cache import KVCache
from axl_exp.model.qkv import QKV, MultiheadOutputLinear, RoFormerQKVLinear
from axl_exp.model.residual import ResidualLayer
from axl_exp.model.sharding import constrain, num_shards_in_use, platform_in_use


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
        # What computes softmax(query · key) · value: see BackendName.
        backend: BackendName = "auto"
        # The blocks of the splash backend; None: those that are fastest.
        splash: SplashSpec | None = None
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
        self.backend: BackendName = cfg.backend
        # As pairs: what a module keeps must be hashable.
        self.splash = tuple((cfg.splash or SplashSpec()).items())
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
        qkv = QKV(self.scale_query(qkv.query), self.scale_key(qkv.key), qkv.value)
        context = checkpoint_name(self._attend(qkv, segment_ids_BS, key), "context")
        return checkpoint_name(self.o_proj(context), "o_proj")

    def extend(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, cache: KVCache
    ) -> tuple[jax.Array, KVCache]:
        """Return [B, S, D] for tokens that follow those in `cache`, and the cache with them."""
        qkv = self.i_proj(x_BSD, positions_BS=positions_BS)
        cache = cache.written(self.scale_key(qkv.key), qkv.value, positions_BS=positions_BS)
        bias = None
        if self.logit_bias is not None:
            bias = self.logit_bias.of_distance(cache.distance(positions_BS))
        context = dot_product_attention(
            QKV(self.scale_query(qkv.query), cache.key, cache.value),
            cache.mask(positions_BS, sliding_window=self.sliding_window),
            logit_cap=self.logit_cap,
            bias=bias,
        )
        return self.o_proj(context), cache

    def empty_cache(self, *, batch_size: int, num_positions: int, dtype: Any) -> KVCache:
        """Return the cache before the first token."""
        shape = (batch_size, num_positions, self.i_proj.num_kv_heads, self.head_dim)
        return KVCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)).laid_out()

    def choose_backend(self, *, dtype: Any, sequence_length: int) -> Backend:
        """Return what computes this layer, and why; on the mesh and by the axis rules in use.

        Raises:
            BackendError: `backend` names a kernel that cannot.
        """
        case = AttentionCase(
            platform=platform_in_use(),
            dtype=dtype,
            sequence_length=sequence_length,
            num_kv_heads=self.i_proj.num_kv_heads,
            head_dim=self.head_dim,
            num_head_shards=num_shards_in_use("heads"),
            num_sequence_shards=num_shards_in_use("sequence"),
            has_logit_cap=self.logit_cap is not None,
            has_logit_bias=self.logit_bias is not None,
            has_dropout=self.dropout.rate > 0,
            interpret=dict(self.splash)["interpret"],
        )
        return choose_backend(self.backend, case)

    def _attend(self, qkv: QKV, segment_ids_BS: jax.Array, key: Key) -> jax.Array:
        sequence_length = qkv.query.shape[1]
        backend = self.choose_backend(dtype=qkv.query.dtype, sequence_length=sequence_length)
        window = self.sliding_window
        if backend.name == "cudnn":
            return cudnn_attention(qkv, segment_ids_BS, sliding_window=window)
        if backend.name == "splash":
            return splash_attention(
                qkv,
                segment_ids_BS,
                spec=SplashSpec(**dict(self.splash)),
                sliding_window=window,
                logit_cap=self.logit_cap,
            )
        if backend.name == "blocks":
            return blocks_attention(
                qkv, segment_ids_BS, sliding_window=window, logit_cap=self.logit_cap
            )
        return dot_product_attention(
            _by_heads(qkv),
            attention_mask(segment_ids_BS, sliding_window=window),
            logit_cap=self.logit_cap,
            bias=None if self.logit_bias is None else self.logit_bias(sequence_length),
            drop=lambda probabilities: self.dropout(probabilities, key=key),
        )


def _by_heads(qkv: QKV) -> QKV:
    """Return `qkv` with each head on the devices that have its weights, as kernels take it.

    Otherwise how logits are split is a guess of the compiler's, since inputs and weights of the
    projection are split over the same devices.
    """
    num_shards = num_shards_in_use("heads")
    if num_shards == 1 or any(x.shape[2] % num_shards for x in qkv):
        return qkv
    return QKV(*(constrain(x, "batch", "sequence", "heads", None) for x in qkv))


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

    def extend(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, cache: KVCache
    ) -> tuple[jax.Array, KVCache]:
        """Return [B, S, D] for tokens that follow those in `cache`, and the cache with them."""
        extended = cache

        def branch(x_BSD: jax.Array, key: Key) -> jax.Array:
            nonlocal extended
            del key
            output_BSD, extended = self.attention.extend(
                x_BSD, positions_BS=positions_BS, cache=cache
            )
            return output_BSD

        return self.add_branch(x_BSD, branch, key=None), extended
