"""The floating-point operations per token of a model whose sizes a log states, by our own formula.

That formula is `axl_exp.flops/1`: 6 per parameter in a product with a weight, the head included,
and 6 · layers · heads · head dim · sequence length for causal attention. Here it is written again,
on sizes instead of a model, since a comparison never imports what builds one.
"""

from __future__ import annotations

from dataclasses import dataclass

from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.megatron_size import sizes_of

FORMULA = "axl_exp.flops/1"


@dataclass(frozen=True)
class ModelWork:
    """What the operations of a token follow from.

    Attributes:
        product_params: Parameters that every token is multiplied with.
        attention_dim: Heads times head dim, summed over layers.
        sequence_length: Positions of a sequence.
    """

    product_params: int
    attention_dim: int
    sequence_length: int

    @property
    def causal(self) -> float:
        """Operations per token, forward and backward; a query sees the keys before it."""
        return 6 * self.product_params + 6.0 * self.attention_dim * self.sequence_length

    @property
    def full(self) -> float:
        """The same where every query is multiplied with every key."""
        return 6 * self.product_params + 12.0 * self.attention_dim * self.sequence_length


def work_of(log: Log) -> ModelWork | None:
    """Return the work of the dense model that a log's settings state; None where they do not."""
    try:
        return {"MaxText": _of_maxtext, "Megatron-LM": _of_megatron}[log.format](log)
    except (KeyError, ValueError):
        return None


def _of_maxtext(log: Log) -> ModelWork | None:
    """Return that of the lines `Config param NAME: VALUE`."""
    told = log.arguments
    is_scaled = told.get("global_parameter_scale", "1") != "1"
    is_dense = told.get("num_experts", "1") == "1"
    attention = told.get("attention_type", "global").rpartition(".")[2].lower()
    if not is_dense or attention != "global":
        return None

    def size(name: str) -> int:
        if name in told or is_scaled:
            return int(told[name])
        return int(told[f"base_{name}"])

    dim, num_layers, head_dim = size("emb_dim"), size("num_decoder_layers"), int(told["head_dim"])
    num_heads, num_kv_heads = size("num_query_heads"), size("num_kv_heads")
    num_ffn = 1 + len(told["mlp_activations"].strip("[]()").split(","))
    return _dense(
        num_layers=num_layers,
        dim=dim,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        num_ffn_params=num_ffn * dim * size("mlp_dim"),
        vocab_size=int(told["vocab_size"]),
        sequence_length=int(told["max_target_length"]),
    )


def _of_megatron(log: Log) -> ModelWork | None:
    """Return that of the arguments."""
    sizes = sizes_of(log)
    if sizes is None:
        return None
    return _dense(
        num_layers=sizes.num_layers,
        dim=sizes.dim,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        num_ffn_params=(3 if sizes.is_gated else 2) * sizes.dim * sizes.ffn_dim,
        vocab_size=sizes.vocab_size,
        sequence_length=int(log.arguments["seq_length"]),
    )


def _dense(
    *,
    num_layers: int,
    dim: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    num_ffn_params: int,
    vocab_size: int,
    sequence_length: int,
) -> ModelWork:
    attention = 2 * dim * (num_heads + num_kv_heads) * head_dim
    return ModelWork(
        product_params=num_layers * (attention + num_ffn_params) + vocab_size * dim,
        attention_dim=num_layers * num_heads * head_dim,
        sequence_length=sequence_length,
    )
