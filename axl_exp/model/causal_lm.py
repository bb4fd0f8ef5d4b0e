"""CausalLM: a decoder trained to predict the next token.

B batch, S sequence, V vocabulary.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from axl_exp.config import Configurable, InstantiableConfig, config_class
from axl_exp.model.base import BaseLayer
from axl_exp.model.cross_entropy import loss_sums
from axl_exp.model.decoder import Decoder
from axl_exp.model.dropout import Key
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.quantization import QuantizationSpec, quantize_products
from axl_exp.model.sharding import DEFAULT_LOGICAL_AXIS_RULES, AxisRules, axis_rules


class LossSums(NamedTuple):
    """Sums over the targets that count, so that means over several batches are exact."""

    # Nats of cross-entropy, float32.
    loss_sum: jax.Array
    # z_loss_scale times the sum of logsumexp(logits)², float32; None where there is no z-loss.
    z_loss_sum: jax.Array | None
    # How many targets count, int32.
    num_targets: jax.Array
    # Their UTF-8 bytes, int32; None where the batch does not say.
    target_bytes: jax.Array | None


class LossOutput(NamedTuple):
    """What `jax.value_and_grad(..., has_aux=True)` takes: the loss, and the rest."""

    # Mean cross-entropy in nats per target, plus the mean z-loss.
    loss: jax.Array
    aux: LossSums


class CausalLM(BaseLayer):
    """A language model: logits of the next token at every position, and their loss."""

    @config_class
    class Config(Configurable.Config):
        """The decoder, how it starts, what it is trained for and how it lies on a mesh."""

        # From tokens to logits.
        decoder: InstantiableConfig = Decoder.default_config()
        # How weights start, but for layers that have a param_init of their own.
        param_init: InstantiableConfig = DefaultInitializer.default_config()
        # Weight of logsumexp(logits)² in the loss, which keeps logits from drifting; None, 0: off.
        z_loss_scale: float | None = None
        # Positions of each sequence whose logits exist at a time, a divisor of its length; None for
        # all. Saves memory where the vocabulary is large; the same loss and gradients.
        loss_chunk_tokens: int | None = None
        # Products in int8 or fp8, forward and backward.
        quantization: QuantizationSpec = QuantizationSpec()
        # Mesh axes that split each logical axis of parameters and activations.
        logical_axis_rules: dict[str, tuple[str, ...]] = DEFAULT_LOGICAL_AXIS_RULES

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.z_loss_scale = cfg.z_loss_scale
        self.loss_chunk_tokens = cfg.loss_chunk_tokens
        # As pairs: what a module keeps must be hashable.
        self.logical_axis_rules = tuple(cfg.logical_axis_rules.items())
        self.decoder = cfg.decoder.instantiate(param_init=cfg.param_init.instantiate(), rngs=rngs)
        quantize_products(self, cfg.quantization)

    @property
    def axis_rules(self) -> AxisRules:
        """The mesh axes that split each logical axis."""
        return dict(self.logical_axis_rules)

    def __call__(self, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the logits [B, S, V] for `inputs`, `positions` and `segment_ids`, [B, S] each."""
        with axis_rules(self.axis_rules):
            return self.decoder.logits(self._hidden(batch, None))

    def loss(self, batch: Mapping[str, jax.Array], *, key: Key = None) -> LossOutput:
        """Return the mean loss over the targets that count, and its parts as sums.

        Args:
            batch: int32 [B, S] each: `inputs`; `targets`, which do not count where they are
                negative, the pad token, or `segment_ids` is 0; `positions`, from 0 in each
                document; `segment_ids`, which name the document; and maybe `target_bytes`.
            key: For dropout and stochastic depth; None leaves both out, as an evaluation does.
        """
        targets = batch["targets"]
        is_token = (targets >= 0) & (targets != self.decoder.pad_token_id)
        counts = (batch["segment_ids"] != 0) & is_token
        with axis_rules(self.axis_rules):
            loss_sum, squared_sum = loss_sums(
                self.decoder.logits,
                self._hidden(batch, key),
                jnp.maximum(targets, 0),
                counts.astype(jnp.float32),
                chunk_tokens=self.loss_chunk_tokens,
            )
        num_targets = jnp.sum(counts)
        z_loss_sum = self.z_loss_scale * squared_sum if self.z_loss_scale else None
        total = loss_sum if z_loss_sum is None else loss_sum + z_loss_sum
        target_bytes = batch.get("target_bytes")
        return LossOutput(
            loss=total / jnp.maximum(num_targets, 1),
            aux=LossSums(
                loss_sum=loss_sum,
                z_loss_sum=z_loss_sum,
                num_targets=num_targets,
                target_bytes=None if target_bytes is None else jnp.sum(target_bytes * counts),
            ),
        )

    def _hidden(self, batch: Mapping[str, jax.Array], key: Key) -> jax.Array:
        return self.decoder(
            batch["inputs"],
            positions_BS=batch["positions"],
            segment_ids_BS=batch["segment_ids"],
            key=key,
        )
