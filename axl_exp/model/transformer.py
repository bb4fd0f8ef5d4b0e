"""Transformer layers and their stack.

B batch, S sequence, D model dim.
"""

import jax
from flax import nnx

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.model.attention import TransformerAttentionLayer
from axl_exp.model.base import BaseLayer
from axl_exp.model.feed_forward import TransformerFeedForwardLayer
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.remat import RematSpec, rematerialise


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

    def __init__(self, cfg: Config, *, dim: int, param_init: DefaultInitializer, rngs: nnx.Rngs):
        self.self_attention = cfg.self_attention.instantiate(
            dim=dim, param_init=param_init, rngs=rngs
        )
        self.feed_forward = cfg.feed_forward.instantiate(dim=dim, param_init=param_init, rngs=rngs)

    def __call__(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, segment_ids_BS: jax.Array
    ) -> jax.Array:
        """Return [B, S, D]."""
        x_BSD = self.self_attention(x_BSD, positions_BS=positions_BS, segment_ids_BS=segment_ids_BS)
        return self.feed_forward(x_BSD)


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

    def __init__(self, cfg: Config, *, dim: int, param_init: DefaultInitializer, rngs: nnx.Rngs):
        self.unroll = cfg.unroll
        self.saved_names = cfg.layer.remat_spec and cfg.layer.remat_spec.save

        def make_layer(key: jax.Array) -> nnx.Module:
            return cfg.layer.instantiate(dim=dim, param_init=param_init, rngs=nnx.Rngs(key))

        keys = jax.random.split(rngs.params(), cfg.num_layers)
        graphdef, _ = nnx.split(nnx.eval_shape(make_layer, keys[0]))
        stacked = jax.vmap(lambda key: nnx.state(make_layer(key)))(keys)
        self.layer = nnx.merge(graphdef, _with_layers_axis(stacked))

    def __call__(
        self, x_BSD: jax.Array, *, positions_BS: jax.Array, segment_ids_BS: jax.Array
    ) -> jax.Array:
        """Return the last layer's output, [B, S, D]."""
        graphdef, stacked = nnx.split(self.layer)

        def body(x_BSD: jax.Array, layer_state: nnx.State) -> tuple[jax.Array, None]:
            layer = nnx.merge(graphdef, layer_state)
            x_BSD = layer(x_BSD, positions_BS=positions_BS, segment_ids_BS=segment_ids_BS)
            return x_BSD, None

        if self.saved_names is not None:
            body = rematerialise(body, saved_names=self.saved_names)
        x_BSD, _ = jax.lax.scan(body, x_BSD, stacked, unroll=self.unroll)
        return x_BSD


def _with_layers_axis(stacked: nnx.State) -> nnx.State:
    def with_axis(param: nnx.Variable) -> nnx.Variable:
        logical_axes = ("layers", *param.get_metadata()["logical_axes"])
        return type(param)(param.get_value(), logical_axes=logical_axes)

    return jax.tree.map(with_axis, stacked, is_leaf=lambda node: isinstance(node, nnx.Variable))
