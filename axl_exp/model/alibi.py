"""ALiBi: attention with linear biases (Press et al. 2022, https://arxiv.org/abs/2108.12409).

N heads, S sequence of queries, T sequence of keys.
"""

import jax
import jax.numpy as jnp

from axl_exp.config import Configurable, config_class
from axl_exp.model.base import BaseLayer


class ALiBi(BaseLayer):
    """-slope · (distance of query and key), a slope per head; it stands for positions."""

    @config_class
    class Config(Configurable.Config):
        """Nothing of the slopes is a choice."""

    def __init__(self, cfg: Config, *, num_heads: int):
        self.slopes = _slopes(num_heads)

    def __call__(self, sequence_length: int) -> jax.Array:
        """Return the float32 bias [N, S, T] of logits; that of keys after the query is no matter.

        The distance is that within the row, which within a document is that of positions.
        """
        index = jnp.arange(sequence_length)
        return self.of_distance(index[:, None] - index[None, :])

    def of_distance(self, distance: jax.Array) -> jax.Array:
        """Return the float32 bias [..., N, S, T] of queries so far [..., S, T] behind keys."""
        slopes_N11 = jnp.asarray(self.slopes, jnp.float32)[:, None, None]
        return -slopes_N11 * distance[..., None, :, :].astype(jnp.float32)


def _slopes(num_heads: int) -> tuple[float, ...]:
    """Return 2^(-8i/N) for i = 1 ... N; where N is no power of two, of the next lower and higher.

    As the authors' code has it: all slopes of the lower power, and every second of the higher one.
    """
    lower = 1 << (num_heads.bit_length() - 1)
    of_lower = [2 ** (-8 * i / lower) for i in range(1, lower + 1)]
    of_higher = [2 ** (-4 * i / lower) for i in range(1, 2 * lower + 1, 2)]
    return tuple(of_lower + of_higher[: num_heads - lower])
