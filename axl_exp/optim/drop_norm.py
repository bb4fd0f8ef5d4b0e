"""Thresholds from the running mean and deviation of the gradient's norm, above which it is dropped.

Norms are large at first and fall by orders of magnitude: no one number fits a whole run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from axl_exp.optim.schedule import decay_bias_correction


class NormStatistics(NamedTuple):
    """Of the norms of the steps that were not dropped.

    `mean` and `variance` are running means whose decay is `decay_bias_correction` at the t-th norm,
    so that the first counts whole; the deviation of a norm is from the mean that it is already part
    of.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array
    # How often each threshold was reached.
    exceeded: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class DropNorm:
    """A rule that moves with the norms.

    Attributes:
        thresholds: From `count` (steps in the statistics), `mean` and `stddev` to thresholds by
            name; a norm that reaches any of them is dropped.
        decay: Of the running means.
    """

    thresholds: Callable[..., dict[str, jax.Array]]
    decay: float = 0.99

    def init(self) -> NormStatistics:
        """Return the statistics of no norm."""
        zero = jnp.zeros((), jnp.float32)
        names = jax.eval_shape(lambda: self.thresholds(count=zero, mean=zero, stddev=zero))
        return NormStatistics(
            count=jnp.zeros((), jnp.int32),
            mean=zero,
            variance=zero,
            exceeded={name: jnp.zeros((), jnp.int32) for name in names},
        )

    def reached(self, statistics: NormStatistics, norm: jax.Array) -> dict[str, jax.Array]:
        """Return for each threshold whether `norm` reaches it; a norm that is not a number does."""
        thresholds = self.thresholds(
            count=statistics.count, mean=statistics.mean, stddev=jnp.sqrt(statistics.variance)
        )
        return {name: ~(norm < threshold) for name, threshold in thresholds.items()}

    def updated(
        self,
        statistics: NormStatistics,
        norm: jax.Array,
        *,
        reached: dict[str, jax.Array],
        is_valid: jax.Array,
    ) -> NormStatistics:
        """Return the statistics with `norm` among them if valid, and what it reached counted."""
        count = statistics.count + 1
        decay = decay_bias_correction(self.decay)(count)
        mean = decay * statistics.mean + (1 - decay) * norm
        variance = decay * statistics.variance + (1 - decay) * (norm - mean) ** 2
        return NormStatistics(
            count=jnp.where(is_valid, count, statistics.count),
            mean=jnp.where(is_valid, mean, statistics.mean),
            variance=jnp.where(is_valid, variance, statistics.variance),
            exceeded={
                name: statistics.exceeded[name] + reached[name] for name in statistics.exceeded
            },
        )


def drop_norm_by_grad_norm_ema(
    multipliers: Sequence[float] = (20, 40, 100), *, decay: float = 0.99
) -> DropNorm:
    """Return the rule that drops norms of `multipliers` times the running mean; not the first.

    The smallest decides, the others are counted beside it.
    """

    def thresholds(*, count, mean, stddev):
        """Return k · mean for each k; ∞ before there is a mean."""
        del stddev
        return {f"{k}x_mean": jnp.where(count < 1, jnp.inf, mean * k) for k in multipliers}

    return DropNorm(thresholds, decay)


def drop_norm_by_grad_norm_stddev(
    *, min_count: int = 500, multipliers: Sequence[float] = (20, 40, 100), decay: float = 0.99
) -> DropNorm:
    """Return the rule that drops norms of `multipliers` deviations over the running mean.

    The smallest decides, the others are counted beside it. The first `min_count` norms all pass:
    the statistics are theirs.
    """

    def thresholds(*, count, mean, stddev):
        """Return mean + k · stddev for each k; ∞ for the first `min_count` norms."""
        return {
            f"{k}x_stddev": jnp.where(count < min_count, jnp.inf, mean + stddev * k)
            for k in multipliers
        }

    return DropNorm(thresholds, decay)
