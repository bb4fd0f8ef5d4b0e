"""What tells one gala from another; the numbers are those of AXLearn's family."""

from __future__ import annotations

import dataclasses
import math

_MI = 1024**2


@dataclasses.dataclass(frozen=True)
class Size:
    """A model and how long it trains."""

    num_layers: int
    dim: int
    num_heads: int
    tokens_per_step: int
    max_step: int
    hybridnorm_alibi: bool = False
    """Whether there is a variant with other norms and positions."""

    @property
    def ffn_dim(self) -> int:
        """8/3 of the width, rounded up to 256: as many weights as 4 times the width without gate
        (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""
        return math.ceil(self.dim * 8 / (3 * 256)) * 256


SIZES: dict[str, Size] = {
    "85M": Size(num_layers=12, dim=768, num_heads=12, tokens_per_step=_MI, max_step=400_000),
    "302M": Size(num_layers=24, dim=1024, num_heads=16, tokens_per_step=_MI, max_step=400_000),
    "1B": Size(
        num_layers=24,
        dim=2048,
        num_heads=32,
        tokens_per_step=_MI,
        max_step=300_000,
        hybridnorm_alibi=True,
    ),
    "7B": Size(
        num_layers=32,
        dim=4096,
        num_heads=32,
        tokens_per_step=4 * _MI,
        max_step=250_000,
        hybridnorm_alibi=True,
    ),
}
