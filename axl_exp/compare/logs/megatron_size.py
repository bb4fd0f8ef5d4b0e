"""What Megatron-LM's arguments say of the parameters on each rank, and of their memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from axl_exp.compare.logs.log import Log

_MIB = 2**20
_TOLERANCE_MIB = 0.005  # Half of the last digit that is printed.


@dataclass(frozen=True)
class Sizes:
    """The arguments that sizes follow from; all counts are of the whole model."""

    num_layers: int
    dim: int
    ffn_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    num_positions: int
    tensor: int
    pipeline: int
    has_bias: bool
    is_gated: bool
    is_layer_norm: bool
    is_tied: bool

    def layer(self) -> int:
        """Return the parameters of one layer on one tensor rank.

        Column-parallel weights and biases are split; biases of row-parallel layers and norms are
        whole on every rank.
        """
        t, qkv_dim = self.tensor, (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        hidden = self.ffn_dim * (2 if self.is_gated else 1)
        split = self.dim * qkv_dim + self.num_heads * self.head_dim * self.dim
        split += self.dim * hidden + self.ffn_dim * self.dim
        whole = 2 * self.norm()
        if self.has_bias:
            split += qkv_dim + hidden
            whole += 2 * self.dim
        return split // t + whole

    def norm(self) -> int:
        """Return the parameters of one norm."""
        return self.dim * (2 if self.is_layer_norm else 1)

    def rank(self, stage: int) -> int:
        """Return the parameters on a rank of pipeline stage `stage`."""
        count = self.num_layers // self.pipeline * self.layer()
        embedding = self.vocab_size * self.dim // self.tensor
        is_last = stage == self.pipeline - 1
        if stage == 0:
            count += embedding + self.num_positions * self.dim
        if is_last:
            count += self.norm()
            # A stage that shares the input embedding keeps a copy, but where it is the first too.
            if not (self.is_tied and stage == 0):
                count += embedding
        return count

    def theoretical_bytes(self, *, bytes_per_parameter: float) -> float:
        """Return Megatron's estimate for weights and optimizer of its most loaded rank.

        Its formula leaves biases and positions out (report_theoretical_memory).
        """
        d, hidden = self.dim, self.ffn_dim * (3 if self.is_gated else 2)
        attention = 2 * self.head_dim * (self.num_heads + self.num_kv_heads) * d
        block = self.num_layers * (attention + hidden * d + 4 * d) + 2 * d
        shard = block / self.pipeline + self.vocab_size * d
        if not self.is_tied and self.pipeline == 1:
            shard += self.vocab_size * d
        return bytes_per_parameter * shard / self.tensor


def sizes_of(log: Log) -> Sizes | None:
    """Return the sizes that the arguments give; None where they do not give a dense model's."""
    arguments = log.arguments

    def number(name: str) -> int:
        return int(arguments[name])

    def is_true(name: str) -> bool:
        return arguments.get(name) == "True"

    if arguments.get("num_experts", "None") != "None" or is_true("multi_latent_attention"):
        return None
    if arguments.get("decoder_first_pipeline_num_layers", "None") != "None":
        return None
    try:
        num_heads = number("num_attention_heads")
        is_learned = arguments.get("position_embedding_type") == "learned_absolute"
        is_grouped = is_true("group_query_attention")
        return Sizes(
            num_layers=number("num_layers"),
            dim=number("hidden_size"),
            ffn_dim=number("ffn_hidden_size"),
            num_heads=num_heads,
            num_kv_heads=number("num_query_groups") if is_grouped else num_heads,
            head_dim=number("kv_channels"),
            vocab_size=log.facts.get("vocab_size") or number("padded_vocab_size"),
            num_positions=number("max_position_embeddings") if is_learned else 0,
            tensor=number("tensor_model_parallel_size"),
            pipeline=number("pipeline_model_parallel_size"),
            has_bias=is_true("add_bias_linear"),
            is_gated=is_true("swiglu"),
            is_layer_norm=arguments.get("normalization", "LayerNorm") == "LayerNorm",
            is_tied=not is_true("untie_embeddings_and_output_weights"),
        )
    except (KeyError, ValueError):
        return None


def check_parameters(log: Log, ranks: Mapping[tuple[int, int], int]) -> list[str]:
    """Return in words whether parameters and memory are those that follow from the arguments."""
    sizes = sizes_of(log)
    if sizes is None:
        return ["parameters per rank cannot be checked: the arguments do not tell a dense model"]
    wrong = [
        f"rank ({t}, {p}) has {count:,}, {sizes.rank(p):,} follow"
        for (t, p), count in sorted(ranks.items())
        if count != sizes.rank(p)
    ]
    told = f"parameters per rank are those that follow from the arguments, on all {len(ranks)}"
    notes = [f"parameters per rank do not follow from the arguments: {wrong[0]}" if wrong else told]
    return [*notes, *_check_theoretical(log, sizes)]


def _check_theoretical(log: Log, sizes: Sizes) -> list[str]:
    memory = next((m for m in log.memory if m.quantity == "weight and optimizer"), None)
    if memory is None:
        return []
    bytes_per_parameter = 18.0
    if log.arguments.get("use_distributed_optimizer") == "True":
        try:
            bytes_per_parameter = 6 + 12 / int(log.arguments["data_parallel_size"])
        except (KeyError, ValueError, ZeroDivisionError):
            return []
    expected = sizes.theoretical_bytes(bytes_per_parameter=bytes_per_parameter) / _MIB
    shown = memory.num_bytes / _MIB
    if abs(expected - shown) <= _TOLERANCE_MIB:
        return [f"theoretical memory is what follows from the arguments: {shown:.2f} MiB"]
    return [f"theoretical memory is {shown:.2f} MiB; {expected:.2f} follow from the arguments"]
