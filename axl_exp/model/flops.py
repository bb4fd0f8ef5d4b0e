"""The floating-point operations that a model's mathematics asks for, by a stated formula.

What is computed twice to save memory does not count, nor does what a mask throws away (`causal`).
"""

import dataclasses
import math
from typing import Any

from flax import nnx

from axl_exp.config import InstantiableConfig
from axl_exp.model.abstract import abstract_model

# The version of the formula below; figures of different versions cannot be compared.
FLOP_FORMULA = "axl_exp.flops/1"


@dataclasses.dataclass(frozen=True)
class FlopsPerToken:
    """Floating-point operations of a forward and backward pass, per token of a sequence."""

    # Queries see the keys before them, at most those of a sliding window: of the attention products
    # without one, half count.
    causal: float
    # Every query is multiplied with every key, as PaLM's appendix B and most reports count.
    full: float


def flops_per_token(cfg: InstantiableConfig, *, sequence_length: int) -> FlopsPerToken:
    """Return the operations of the model of `cfg`, a CausalLM: see `model_flops_per_token`."""
    return model_flops_per_token(abstract_model(cfg), sequence_length=sequence_length)


def model_flops_per_token(model: Any, *, sequence_length: int) -> FlopsPerToken:
    """Return 6 · (parameters in products) + 12 · L · N · H · S, the last halved if causal.

    A product with a weight takes 2 operations per parameter and token forward and 4 backward
    (Kaplan et al. 2020, section 2.1). Its parameters are all weights of the layers and the head,
    a head tied to the embedding too; the lookup in the embedding is no product. Attention takes
    2·2·N·H operations per layer and pair of positions forward and twice that backward, for L layers
    of N heads of dim H. Norms, rotations and the softmax are not counted. With a sliding window of
    W < S keys, a query sees W - W²/2S of them in the mean, in place of S/2.

    Args:
        model: A CausalLM, abstract or not.
        sequence_length: S, the positions of a sequence.
    """
    decoder = model.decoder
    weights = [
        math.prod(param.shape)
        for path, param in nnx.to_flat_state(nnx.state(decoder, nnx.Param))
        if path[-1] == "weight" and path[0] != "emb"
    ]
    head = decoder.emb.token_emb if decoder.lm_head is None else None
    product_params = sum(weights) + (math.prod(head.weight.shape) if head else 0)
    attention = decoder.transformer.layer.self_attention.attention
    num_layers = attention.o_proj.weight.shape[0]
    per_key = 12 * num_layers * attention.num_heads * attention.head_dim
    window = min(attention.sliding_window or sequence_length, sequence_length)
    num_seen_keys = window - window**2 / (2 * sequence_length)
    return FlopsPerToken(
        causal=6 * product_params + per_key * num_seen_keys,
        full=6 * product_params + per_key * sequence_length,
    )
