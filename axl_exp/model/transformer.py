"""Transformer layers and their stack.

B batch, S sequence, D model dim.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.layout import Layout, with_layout_constraint

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.model.attention import TransformerAttentionLayer
from axl_exp.model.base import BaseLayer
from axl_exp.model.dropout import Key, split_key
from axl_exp.model.feed_forward import TransformerFeedForwardLayer
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.kv_cache import KVCache
from axl_exp.model.remat import RematSpec, rematerialise
from axl_exp.model.sharding import map_shards, platform_in_use, spec_in_use
from axl_exp.model.summaries import Summaries, collect_summaries, is_collecting, record_summary


class TransformerLayer(BaseLayer):
    """Attention, then feed-forward; each adds to its input."""

    @config_class
    class Config(Configurable.Config):
        """The two halves, and what is kept of them."""

        # Across positions.
        self_attention: InstantiableConfig = TransformerAttentionLayer.default_config()
        # At each position.
        feed_forward: InstantiableConfig = TransformerFeedForwardLayer.default_config()
        # What the backward pass keeps of the forward pass; None keeps everything it needs.
        remat_spec: RematSpec | None = None

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        dropout_rate: float = 0.0,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        shared = {
            "dim": dim,
            "dropout_rate": dropout_rate,
            "param_init": param_init,
            "rngs": rngs,
        }
        self.self_attention = cfg.self_attention.instantiate(**shared)
        self.feed_forward = cfg.feed_forward.instantiate(**shared)

    def __call__(
        self,
        x_BSD: jax.Array,
        *,
        positions_BS: jax.Array,
        segment_ids_BS: jax.Array,
        key: Key = None,
    ) -> jax.Array:
        """Return [B, S, D]."""
        attention_key, feed_forward_key = split_key(key, 2)
        x_BSD = checkpoint_name(x_BSD, "input")
        x_BSD = self.self_attention(
            x_BSD, positions_BS=positions_BS, segment_ids_BS=segment_ids_BS, key=attention_key
        )
        return self.feed_forward(x_BSD, key=feed_forward_key)

    def extend(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, cache: KVCache
    ) -> tuple[jax.Array, KVCache]:
        """Return [B, S, D] for tokens that follow those in `cache`, and the cache with them."""
        x_BSD, cache = self.self_attention.extend(x_BSD, positions_BS=positions_BS, cache=cache)
        return self.feed_forward(x_BSD), cache


class RepeatedTransformerLayer(BaseLayer):
    """Equal layers in a row: one traced body, its parameters stacked along a first dim `layers`."""

    @config_class
    class Config(Configurable.Config):
        """The layer and its repetition."""

        # Layers.
        num_layers: Required[int] = REQUIRED
        # The layer that is repeated.
        layer: InstantiableConfig = TransformerLayer.default_config()
        # Layers per turn of the compiled loop, True for all: the same numbers from the same
        # parameters; longer to compile, and faster where the compiler gains from seeing several.
        unroll: int | bool = 1
        # Regexes over names of summaries, such as `feed_forward/.*`: the layers put out none that
        # one of them matches whole.
        drop_output: tuple[str, ...] = ()

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        dropout_rate: float = 0.0,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        self.num_layers = cfg.num_layers
        self.unroll = cfg.unroll
        self.drop_output = cfg.drop_output
        # As pairs: what a module keeps must be hashable.
        self.remat = cfg.layer.remat_spec and tuple(cfg.layer.remat_spec.items())
        self.offloads = bool(cfg.layer.remat_spec and cfg.layer.remat_spec.offload)

        def make_layer(key: jax.Array) -> tuple[nnx.GraphDef, nnx.State]:
            layer = cfg.layer.instantiate(
                dim=dim, dropout_rate=dropout_rate, param_init=param_init, rngs=nnx.Rngs(key)
            )
            return nnx.split(layer)

        keys = jax.random.split(rngs.params(), cfg.num_layers)
        # Equal layers are one graph, which is no array.
        graphdef, stacked = jax.vmap(make_layer, out_axes=(None, 0))(keys)
        self.layer = nnx.merge(graphdef, _with_layers_axis(stacked))

    def __call__(
        self,
        x_BSD: jax.Array,
        *,
        positions_BS: jax.Array,
        segment_ids_BS: jax.Array,
        key: Key = None,
    ) -> jax.Array:
        """Return the last layer's output, [B, S, D]; its summaries are arrays over the layers."""
        graphdef, stacked = nnx.split(self.layer)
        keys = None if key is None else jax.random.split(key, self.num_layers)

        handed_on = _in_rows if self.offloads else lambda x_BSD: x_BSD

        def body(x_BSD: jax.Array, of_layer: tuple[nnx.State, Key]) -> tuple[jax.Array, Summaries]:
            layer_state, key = of_layer
            layer = nnx.merge(graphdef, layer_state)
            context = {"positions_BS": positions_BS, "segment_ids_BS": segment_ids_BS, "key": key}
            if not is_collecting():
                return handed_on(layer(x_BSD, **context)), {}
            with collect_summaries() as summaries:
                return handed_on(layer(x_BSD, **context)), self._kept(summaries)

        if self.remat is not None:
            in_loop = self.unroll is not True and self.unroll < self.num_layers
            body = rematerialise(body, **dict(self.remat), in_loop=in_loop)
        x_BSD, summaries = jax.lax.scan(body, x_BSD, (stacked, keys), unroll=self.unroll)
        for name, values_L in summaries.items():
            record_summary(f"layer/*/{name}", values_L)
        return x_BSD

    def extend(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, cache: KVCache
    ) -> tuple[jax.Array, KVCache]:
        """Return [B, S, D] for tokens that follow those in `cache`, and the cache with them."""
        graphdef, stacked = nnx.split(self.layer)

        def body(x_BSD: jax.Array, of_layer: tuple[nnx.State, KVCache]) -> Any:
            layer_state, cache = of_layer
            layer: Any = nnx.merge(graphdef, layer_state)
            return layer.extend(x_BSD, positions_BS=positions_BS, cache=cache)

        return jax.lax.scan(body, x_BSD, (stacked, cache), unroll=self.unroll)

    def empty_cache(self, *, batch_size: int, num_positions: int, dtype: Any) -> KVCache:
        """Return the cache of every layer before the first token, [L, B, T, K, H]."""
        layer: Any = self.layer
        of_layer = layer.self_attention.attention.empty_cache(
            batch_size=batch_size, num_positions=num_positions, dtype=dtype
        )
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (self.num_layers, *x.shape)), of_layer)

    def _kept(self, summaries: Summaries) -> Summaries:
        return {
            name: value
            for name, value in summaries.items()
            if not any(re.fullmatch(rule, name) for rule in self.drop_output)
        }


def _in_rows(x_BSD: jax.Array) -> jax.Array:
    """Return `x_BSD`, which on a TPU lies in memory vector by vector.

    What layers hand on is stacked for the backward pass. Where other values go to the host, libtpu
    (0.0.42) lets rotary positions decide how the stack lies forward, and copies all of it into what
    the backward pass reads: 1.3 of 4.2 GiB of a step of fuji-7B-v2.
    """
    if platform_in_use() != "tpu":
        return x_BSD
    # A program of each device: of all devices, between slices, every one gets the whole batch.
    spec = spec_in_use("batch", "sequence", "hidden")
    in_rows = map_shards(
        lambda x_BSD: with_layout_constraint(x_BSD, Layout(tuple(range(x_BSD.ndim)))),
        in_specs=(spec,),
        out_specs=spec,
    )
    return in_rows(x_BSD)


def _with_layers_axis(stacked: nnx.State) -> nnx.State:
    def with_axis(param: nnx.Variable) -> nnx.Variable:
        logical_axes = ("layers", *param.get_metadata()["logical_axes"])
        return type(param)(param.get_value(), logical_axes=logical_axes)

    return jax.tree.map(with_axis, stacked, is_leaf=lambda node: isinstance(node, nnx.Variable))
