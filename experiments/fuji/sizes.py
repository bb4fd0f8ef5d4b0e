"""What tells one fuji from another: versions and sizes, as two tables.

The names and numbers are those of AXLearn's fuji family, which follows the LLaMA papers: version 1
is arXiv:2302.13971, version 2 arXiv:2307.09288, version 3 arXiv:2407.21783.
"""

from __future__ import annotations

import dataclasses

_MI = 1024**2
_TI = 1024**4


@dataclasses.dataclass(frozen=True)
class Version:
    """What all sizes of one version share."""

    vocab_size: int
    vocabulary: str
    """File name of the sentencepiece model (*.model) or the Hugging Face tokenizer (*.json)."""
    max_sequence_length: int
    rope_theta: float
    tokens_per_step: int
    total_tokens: int
    single_host_divisor: int
    """By how much the single-host variants divide the batch."""
    newline: str | None = "<n>"
    """What newlines become, for vocabularies without one; None keeps them."""
    pad_token_id: int = 0
    """A token that never stands for text."""


_V3 = Version(
    vocab_size=128 * 1024,
    vocabulary="bpe_128k_c4.model",
    max_sequence_length=8192,
    rope_theta=5e5,
    tokens_per_step=16 * _MI,
    total_tokens=15 * _TI,
    single_host_divisor=128,
)
_V2 = Version(
    vocab_size=32 * 1024,
    vocabulary="bpe_32k_c4.model",
    max_sequence_length=4096,
    rope_theta=1e4,
    tokens_per_step=4 * _MI,
    total_tokens=2 * _TI,
    single_host_divisor=32,
)

VERSIONS: dict[str, Version] = {
    "v1": dataclasses.replace(_V2, max_sequence_length=2048, total_tokens=1 * _TI),
    "v2": _V2,
    "v3": _V3,
    # Llama 3's tiktoken vocabulary, as its tokenizer.json has it: 128000 of text, 256 special.
    "v3-tiktoken": dataclasses.replace(
        _V3,
        vocab_size=128256,
        vocabulary="Llama-3-tokenizer.json",
        newline=None,
        pad_token_id=128004,
    ),
}


@dataclasses.dataclass(frozen=True)
class Size:
    """What all versions of one size share, and which versions there are."""

    num_layers: int
    dim: int
    num_heads: int
    num_kv_heads: int
    ffn_dim: int
    peak_lr: float
    versions: tuple[str, ...]
    tied_head: bool
    """Whether the output head is the embedding."""
    multi_head_versions: tuple[str, ...] = ()
    """Versions with as many key-value heads as heads."""
    single_host: bool = False
    """Whether there is a variant for a single host."""


SIZES: dict[str, Size] = {
    "1B": Size(
        num_layers=16,
        dim=2048,
        num_heads=32,
        num_kv_heads=8,
        ffn_dim=8192,
        peak_lr=3e-4,
        versions=("v3", "v3-tiktoken"),
        tied_head=True,
        single_host=True,
    ),
    "3B": Size(
        num_layers=28,
        dim=3072,
        num_heads=24,
        num_kv_heads=8,
        ffn_dim=8192,
        peak_lr=3e-4,
        versions=("v3", "v3-tiktoken"),
        tied_head=True,
        single_host=True,
    ),
    "7B": Size(
        num_layers=32,
        dim=4096,
        num_heads=32,
        num_kv_heads=8,
        ffn_dim=11008,
        peak_lr=3e-4,
        versions=("v1", "v2", "v3"),
        tied_head=True,
        multi_head_versions=("v1", "v2"),
        single_host=True,
    ),
    "8B": Size(
        num_layers=32,
        dim=4096,
        num_heads=32,
        num_kv_heads=8,
        ffn_dim=14336,
        peak_lr=3e-4,
        versions=("v3-tiktoken",),
        tied_head=False,
        single_host=True,
    ),
    "70B": Size(
        num_layers=80,
        dim=8192,
        num_heads=64,
        num_kv_heads=8,
        ffn_dim=28672,
        peak_lr=1.5e-4,
        versions=("v1", "v2", "v3", "v3-tiktoken"),
        tied_head=False,
        multi_head_versions=("v1",),
    ),
    "405B": Size(
        num_layers=126,
        dim=16384,
        num_heads=128,
        num_kv_heads=8,
        ffn_dim=53248,
        peak_lr=1.5e-4,
        versions=("v3", "v3-tiktoken"),
        tied_head=False,
    ),
}


def total_tokens(size: str, version: str) -> int:
    """Return how many tokens a model is trained on; 70B-v1 saw 1.4 Ti, as LLaMA's largest did."""
    if (size, version) == ("70B", "v1"):
        return int(1.4 * _TI)
    return VERSIONS[version].total_tokens
