"""The products around the attention core: to queries, keys and values, and back.

B batch, S sequence, D model dim, N query heads, K key/value heads, H head dim.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.linear import ProductLayer, project
from axl_exp.model.rotary import RoFormerSinusoidalPositionalEmbedding, rotate
from axl_exp.model.sharding import constrain, num_shards_in_use, platform_in_use


class QKV(NamedTuple):
    """Queries [B, S, N, H], keys and values [B, S, K, H]."""

    query: jax.Array
    key: jax.Array
    value: jax.Array


class MultiheadInputLinear(ProductLayer):
    """From the model dim to heads, with one weight [D, heads, H]."""

    @config_class
    class Config(Configurable.Config):
        """Nothing of this product is a choice."""

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        num_heads: int,
        head_dim: int,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        weight = param_init("weight", rngs.params(), (dim, num_heads, head_dim), in_dims=(0,))
        self.weight = parameter(weight, logical_axes=("embed", "heads", "head_dim"))

    def __call__(self, x_BSD: jax.Array) -> jax.Array:
        """Return [B, S, heads, H]."""
        return project(x_BSD, self.weight[...], dot_general=self.dot_general)

    def in_groups(self, x_BSD: jax.Array, num_heads: Sequence[int]) -> list[jax.Array]:
        """Return the heads in groups of so many, [B, S, heads, H] each."""
        ends = list(itertools.accumulate(num_heads))[:-1]
        num_shards = num_shards_in_use("heads")
        if num_shards == 1:
            as_one = platform_in_use() != "tpu"
        else:
            as_one = any(number % num_shards for number in num_heads)
        if as_one:
            return jnp.split(self(x_BSD), ends, axis=2)
        # Each device has its part of all heads, and needs its part of each group: rows of the
        # weight move to where they belong, and not the heads of every token. A TPU takes longer
        # for one product than for three: backward, XLA joins the gradients of the groups in it.
        weights = (
            constrain(weight, "embed", "heads", "head_dim")
            for weight in jnp.split(self.weight[...], ends, axis=1)
        )
        return [project(x_BSD, weight, dot_general=self.dot_general) for weight in weights]


class MultiheadOutputLinear(ProductLayer):
    """From heads back to the model dim, with one weight [D, N, H]."""

    @config_class
    class Config(Configurable.Config):
        """Nothing of this product is a choice."""

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        num_heads: int,
        head_dim: int,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        weight = param_init("weight", rngs.params(), (dim, num_heads, head_dim), in_dims=(1, 2))
        self.weight = parameter(weight, logical_axes=("embed", "heads", "head_dim"))

    def __call__(self, context_BSNH: jax.Array) -> jax.Array:
        """Return [B, S, D]."""
        output_BSD = project(
            context_BSNH,
            self.weight[...],
            num_in_dims=2,
            in_dims_last=True,
            dot_general=self.dot_general,
        )
        return constrain(output_BSD, "batch", "sequence", "hidden")


class FusedGroupedQKVLinear(BaseLayer):
    """Queries, keys and values in one product, its weight [D, N + 2K, H] in this order."""

    @config_class
    class Config(Configurable.Config):
        """The grouping."""

        # Heads of keys and values; each serves num_heads / num_kv_heads query heads.
        num_kv_heads: Required[int] = REQUIRED
        # The product.
        layer: InstantiableConfig = MultiheadInputLinear.default_config()

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        num_heads: int,
        head_dim: int,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        if num_heads % cfg.num_kv_heads:
            raise UserError(
                f"num_heads {num_heads} does not divide by num_kv_heads {cfg.num_kv_heads}: each "
                "key/value head serves the same number of query heads; change one of them."
            )
        self.num_heads = num_heads
        self.num_kv_heads = cfg.num_kv_heads
        self.qkv_proj = cfg.layer.instantiate(
            dim=dim,
            num_heads=num_heads + 2 * cfg.num_kv_heads,
            head_dim=head_dim,
            param_init=param_init,
            rngs=rngs,
        )

    def __call__(self, x_BSD: jax.Array, *, positions_BS: jax.Array | None = None) -> QKV:
        """Return queries, keys and values; they do not carry their positions."""
        del positions_BS
        num_heads = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        return QKV(*self.qkv_proj.in_groups(x_BSD, num_heads))


class RoFormerQKVLinear(BaseLayer):
    """Queries, keys and values, of which queries and keys carry their positions."""

    @config_class
    class Config(Configurable.Config):
        """The product and the embedding of positions."""

        # The product.
        input_linear: InstantiableConfig = FusedGroupedQKVLinear.default_config()
        # The angles of the rotation.
        rope_pos_emb_layer: InstantiableConfig = (
            RoFormerSinusoidalPositionalEmbedding.default_config()
        )
        # Whether values carry their positions too.
        rotary_value: bool = False

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        num_heads: int,
        head_dim: int,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        self.i_proj = cfg.input_linear.instantiate(
            dim=dim, num_heads=num_heads, head_dim=head_dim, param_init=param_init, rngs=rngs
        )
        self.num_kv_heads = self.i_proj.num_kv_heads
        self.rope = cfg.rope_pos_emb_layer.instantiate(head_dim=head_dim)
        self.rotary_value = cfg.rotary_value

    def __call__(self, x_BSD: jax.Array, *, positions_BS: jax.Array) -> QKV:
        """Return queries, keys and values; the first two turned by their positions."""
        query, key, value = self.i_proj(x_BSD)
        sin_BSR, cos_BSR = self.rope(positions_BS)

        def turned(x: jax.Array) -> jax.Array:
            return rotate(x, sin_BSR, cos_BSR, layout=self.rope.layout)

        return QKV(turned(query), turned(key), turned(value) if self.rotary_value else value)
