"""Decoder: tokens in, hidden vectors and logits out.

B batch, S sequence, D model dim, V vocabulary.
"""

from typing import Any

import jax
from flax import nnx

from axl_exp.config import (
    REQUIRED,
    Configurable,
    InstantiableConfig,
    Required,
    config_class,
    maybe_instantiate,
)
from axl_exp.model.base import BaseLayer
from axl_exp.model.dropout import Dropout, Key, split_key
from axl_exp.model.embedding import TransformerTextEmbeddings
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.kv_cache import KVCache
from axl_exp.model.norm import RMSNorm
from axl_exp.model.soft_cap import soft_cap
from axl_exp.model.transformer import RepeatedTransformerLayer


class Decoder(BaseLayer):
    """Embedding, transformer layers, a last norm, and the head that gives logits."""

    @config_class
    class Config(Configurable.Config):
        """The sizes and the parts."""

        # Tokens; ids are below it.
        vocab_size: Required[int] = REQUIRED
        # The width of the residual stream.
        dim: Required[int] = REQUIRED
        # The token that fills up a batch; as a target it does not count.
        pad_token_id: int = 0
        # The share of units that training zeroes at every dropout whose own rate is None.
        dropout_rate: float = 0.0
        # From tokens to vectors; gives the logits too unless there is an lm_head.
        emb: InstantiableConfig = TransformerTextEmbeddings.default_config()
        # The layers.
        transformer: InstantiableConfig = RepeatedTransformerLayer.default_config()
        # After the last layer.
        output_norm: InstantiableConfig = RMSNorm.default_config()
        # After that norm.
        output_dropout: InstantiableConfig = Dropout.default_config()
        # From vectors to logits with a weight of its own; None ties it to the embedding.
        lm_head: InstantiableConfig | None = None
        # Keeps logits within ±cap, smoothly; None: as they are.
        logit_cap: float | None = None

    def __init__(self, cfg: Config, *, param_init: DefaultInitializer, rngs: nnx.Rngs):
        dim, rate = cfg.dim, cfg.dropout_rate
        self.pad_token_id = cfg.pad_token_id
        self.logit_cap = cfg.logit_cap
        self.emb = cfg.emb.instantiate(
            vocab_size=cfg.vocab_size, dim=dim, dropout_rate=rate, rngs=rngs
        )
        self.transformer = cfg.transformer.instantiate(
            dim=dim, dropout_rate=rate, param_init=param_init, rngs=rngs
        )
        self.output_norm = cfg.output_norm.instantiate(dim=dim)
        self.output_dropout = cfg.output_dropout.instantiate(default_rate=rate)
        self.lm_head = maybe_instantiate(
            cfg.lm_head, vocab_size=cfg.vocab_size, dim=dim, param_init=param_init, rngs=rngs
        )

    def __call__(
        self,
        inputs_BS: jax.Array,
        *,
        positions_BS: jax.Array,
        segment_ids_BS: jax.Array,
        key: Key = None,
    ) -> jax.Array:
        """Return the normed hidden vectors, [B, S, D]; `logits` takes them on."""
        emb_key, layers_key, output_key = split_key(key, 3)
        x_BSD = self.transformer(
            self.emb(inputs_BS, key=emb_key),
            positions_BS=positions_BS,
            segment_ids_BS=segment_ids_BS,
            key=layers_key,
        )
        return self.output_dropout(self.output_norm(x_BSD), key=output_key)

    def extend(
        self, inputs_BS: jax.Array, *, positions_BS: jax.Array, cache: KVCache
    ) -> tuple[jax.Array, KVCache]:
        """Return the normed hidden vectors of tokens that follow those in `cache`, and the cache.

        Of the same tokens at the same positions of one document the vectors are those of a call.
        """
        x_BSD, cache = self.transformer.extend(
            self.emb(inputs_BS), positions_BS=positions_BS, cache=cache
        )
        return self.output_norm(x_BSD), cache

    def empty_cache(self, *, batch_size: int, num_positions: int, dtype: Any) -> KVCache:
        """Return the cache before the first token, for rows of at most `num_positions`."""
        return self.transformer.empty_cache(
            batch_size=batch_size, num_positions=num_positions, dtype=dtype
        )

    def logits(self, hidden_BSD: jax.Array) -> jax.Array:
        """Return the logits of the next token, [B, S, V]."""
        head = self.emb.attend if self.lm_head is None else self.lm_head
        logits_BSV = head(hidden_BSD)
        return logits_BSV if self.logit_cap is None else soft_cap(logits_BSV, self.logit_cap)
