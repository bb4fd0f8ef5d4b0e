"""Tokens to vectors, and vectors to logits over tokens.

B batch, S sequence, D model dim, V vocabulary.
"""

import jax
from flax import nnx

from axl_exp.config import Configurable, InstantiableConfig, config_class
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.dropout import Dropout, Key
from axl_exp.model.initializer import DefaultInitializer, WeightInitializer
from axl_exp.model.linear import DotGeneral, ProductLayer, project
from axl_exp.model.sharding import constrain


def _logits(x_BSD: jax.Array, weight_VD: jax.Array, dot_general: DotGeneral) -> jax.Array:
    # Both laid out as the logits are to be: left to itself, XLA (of JAX 0.10.2) made wrong logits
    # of a table over fsdp and model, on a mesh that splits data too.
    x_BSD = constrain(x_BSD, "batch", "sequence", None)
    weight_VD = constrain(weight_VD, "hidden", None)
    logits_BSV = project(x_BSD, weight_VD, in_dims_last=True, dot_general=dot_general)
    return constrain(logits_BSV, "batch", "sequence", "hidden")


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
        self.weight = parameter(weight, logical_axes=("vocab", "vocab_embed"))

    def __call__(self, tokens_BS: jax.Array) -> jax.Array:
        """Return the vectors of the tokens, [B, S, D]."""
        # Every row on every device, so that each looks up its own tokens: left alone, XLA looks up
        # those of all devices in each device's rows, memory for the whole batch on each.
        table_VD = constrain(self.weight[...], None, "vocab_embed")
        # A gather. As a product with one-hot rows a step takes 1.4 times as long on a CPU.
        return constrain(table_VD[tokens_BS], "batch", "sequence", "hidden")

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
        self.weight = parameter(weight, logical_axes=("vocab", "vocab_embed"))

    def __call__(self, x_BSD: jax.Array) -> jax.Array:
        """Return logits [B, S, V]."""
        return _logits(x_BSD, self.weight[...], self.dot_general)
