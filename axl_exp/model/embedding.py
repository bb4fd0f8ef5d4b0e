"""Tokens to vectors, and vectors to logits over tokens.

B batch, S sequence, D model dim, V vocabulary.
"""

import jax
from flax import nnx
from jax.sharding import PartitionSpec

from axl_exp.config import Configurable, InstantiableConfig, config_class
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.dropout import Dropout, Key
from axl_exp.model.gathering import gather_shards
from axl_exp.model.initializer import DefaultInitializer, WeightInitializer
from axl_exp.model.linear import DotGeneral, ProductLayer, project
from axl_exp.model.sharding import (
    axes_in_use,
    check_shards,
    constrain,
    map_shards,
    spec_in_use,
)

# Of a weight with a row per token.
_TABLE_AXES = ("vocab", "vocab_embed")


def _lookup(table_VD: jax.Array, tokens_BS: jax.Array) -> jax.Array:
    """Return the vectors of the tokens, [B, S, D].

    On a mesh every device gathers the rows and looks up its own tokens; of their gradient it gets
    the sum for the rows that it holds. Left to XLA, it looks up the tokens of all devices, or sums
    the gradient of every row.
    """
    rows, columns = map(axes_in_use, _TABLE_AXES)
    if set(columns) & {*axes_in_use("batch"), *axes_in_use("sequence")}:
        gathered, columns = columns, ()  # Other tokens there need the other columns too.
    else:
        gathered = ()

    def of_shards(table_VD: jax.Array, tokens_BS: jax.Array) -> jax.Array:
        table_VD = gather_shards(gather_shards(table_VD, rows, dim=0), gathered, dim=1)
        # A gather. As a product with one-hot rows a step takes 1.4 times as long on a CPU.
        return table_VD[tokens_BS]

    tokens_spec = spec_in_use("batch", "sequence")
    lookup = map_shards(
        of_shards,
        in_specs=(spec_in_use(*_TABLE_AXES), tokens_spec),
        out_specs=PartitionSpec(*tokens_spec, columns),
    )
    return constrain(lookup(table_VD, tokens_BS), "batch", "sequence", "hidden")


def _logits(x_BSD: jax.Array, weight_VD: jax.Array, dot_general: DotGeneral) -> jax.Array:
    """Return the products of the vectors with every row of the weight, [B, S, V].

    On a mesh every device multiplies whole vectors with the rows of its part of the vocabulary, so
    that logits need no sum; gradients of rows are summed as in `_lookup`. A quantized product has
    its scales per device. Left to XLA (of JAX 0.10.2), logits were gathered, or wrong on a mesh
    over data, fsdp and model.

    Raises:
        ShardingError: The vocabulary does not divide by the devices that split the logits.
    """
    hidden = axes_in_use("hidden")
    rows = tuple(axis for axis in axes_in_use("vocab") if axis not in hidden)
    vectors_spec = spec_in_use("batch", "sequence", "hidden")
    check_shards("logits", (*x_BSD.shape[:2], len(weight_VD)), vectors_spec)

    def of_shards(x_BSD: jax.Array, weight_VD: jax.Array) -> jax.Array:
        weight_VD = gather_shards(weight_VD, rows, dim=0)
        if hidden:
            x_BSD = gather_shards(x_BSD, hidden, dim=2)
            weight_VD = jax.lax.all_to_all(weight_VD, hidden, 0, 1, tiled=True)
        return project(x_BSD, weight_VD, in_dims_last=True, dot_general=dot_general)

    logits = map_shards(
        of_shards,
        in_specs=(vectors_spec, PartitionSpec(rows, hidden)),
        out_specs=vectors_spec,
    )
    return logits(x_BSD, weight_VD)


class Embedding(ProductLayer):
    """A table with one vector per token, [V, D]."""

    @config_class
    class Config(Configurable.Config):
        """How the table starts."""

        # By fan_out: deviation 1/sqrt(D), so that logits of a tied head start with variance 1.
        param_init: InstantiableConfig = DefaultInitializer.default_config().set(
            init_by_param_name={".*weight$": WeightInitializer.default_config().set(fan="fan_out")}
        )

    def __init__(self, cfg: Config, *, num_embeddings: int, dim: int, rngs: nnx.Rngs):
        param_init = cfg.param_init.instantiate()
        weight = param_init("weight", rngs.params(), (num_embeddings, dim), in_dims=(0,))
        self.weight = parameter(weight, logical_axes=_TABLE_AXES)

    def __call__(self, tokens_BS: jax.Array) -> jax.Array:
        """Return the vectors of the tokens, [B, S, D]."""
        return _lookup(self.weight[...], tokens_BS)

    def attend(self, x_BSD: jax.Array) -> jax.Array:
        """Return the product of x with every vector of the table: logits [B, S, V]."""
        return _logits(x_BSD, self.weight[...], self.dot_general)


class TransformerTextEmbeddings(BaseLayer):
    """The embeddings of a text model: tokens alone; their positions enter in attention."""

    @config_class
    class Config(Configurable.Config):
        """What is embedded."""

        # The table of tokens.
        token_emb: InstantiableConfig = Embedding.default_config()
        # Of the vectors.
        dropout: InstantiableConfig = Dropout.default_config()

    def __init__(
        self, cfg: Config, *, vocab_size: int, dim: int, dropout_rate: float, rngs: nnx.Rngs
    ):
        self.token_emb = cfg.token_emb.instantiate(num_embeddings=vocab_size, dim=dim, rngs=rngs)
        self.dropout = cfg.dropout.instantiate(default_rate=dropout_rate)

    def __call__(self, tokens_BS: jax.Array, *, key: Key = None) -> jax.Array:
        """Return the vectors of the tokens, [B, S, D]."""
        return self.dropout(self.token_emb(tokens_BS), key=key)

    def attend(self, x_BSD: jax.Array) -> jax.Array:
        """Return logits [B, S, V] by the table of tokens."""
        return self.token_emb.attend(x_BSD)


class LmHead(ProductLayer):
    """An output head with a weight of its own, [V, D], where the embedding is not tied to it."""

    @config_class
    class Config(Configurable.Config):
        """Nothing of this product is a choice."""

    def __init__(
        self,
        cfg: Config,
        *,
        vocab_size: int,
        dim: int,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        weight = param_init("weight", rngs.params(), (vocab_size, dim), in_dims=(1,))
        self.weight = parameter(weight, logical_axes=_TABLE_AXES)

    def __call__(self, x_BSD: jax.Array) -> jax.Array:
        """Return logits [B, S, V]."""
        return _logits(x_BSD, self.weight[...], self.dot_general)
