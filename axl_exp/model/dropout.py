"""What a model draws while it trains: dropout and stochastic depth.

The key of a step is handed down from layer to layer, split at each. None is the key of a forward
pass that draws nothing, as in evaluation.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from axl_exp.config import Configurable, config_class
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer

# Of one forward pass, or of a part of it.
Key = jax.Array | None


def split_key(key: Key, num: int) -> tuple[Key, ...]:
    """Return `num` independent keys, each None where `key` is."""
    return (None,) * num if key is None else tuple(jax.random.split(key, num))


def is_random(model: nnx.Module) -> bool:
    """Return whether a forward pass with a key draws anything: whether any site has a rate."""
    return any(isinstance(node, _Random) and node.rate > 0 for _, node in nnx.iter_graph(model))


class _Random(BaseLayer):
    """A site that zeroes with probability `rate` and scales up what stays, to keep the mean."""

    def __init__(self, rate: float):
        if not 0 <= rate < 1:
            raise UserError(
                f"{type(self).__name__}.rate {rate} is no probability below 1: it is the share "
                "that becomes zero; 0 turns it off."
            )
        self.rate = rate

    def _zero(self, x: jax.Array, *, key: Key, shape: tuple[int, ...]) -> jax.Array:
        """Return x where a draw of `shape`, which broadcasts to that of x, keeps it, else 0."""
        if key is None or self.rate == 0:
            return x
        keep = 1 - self.rate
        return jnp.where(jax.random.bernoulli(key, keep, shape), x / keep, jnp.zeros((), x.dtype))


class Dropout(_Random):
    """Zeroes units, each by itself (Srivastava et al. 2014, Journal of Machine Learning 15)."""

    @config_class
    class Config(Configurable.Config):
        """How much."""

        # The share of units; None is that of the whole model, `decoder.dropout_rate`.
        rate: float | None = None

    def __init__(self, cfg: Config, *, default_rate: float):
        super().__init__(default_rate if cfg.rate is None else cfg.rate)

    def __call__(self, x: jax.Array, *, key: Key) -> jax.Array:
        """Return x with some units zero."""
        return self._zero(x, key=key, shape=x.shape)


class StochasticDepth(_Random):
    """Leaves out whole branches (Huang et al. 2016, https://arxiv.org/abs/1603.09382)."""

    @config_class
    class Config(Configurable.Config):
        """How often, and for what."""

        # The share of branches that are left out; None, 0: none is.
        rate: float | None = None
        # What is drawn for: each row of the batch, or the whole batch at once.
        mode: Literal["row", "batch"] = "row"

    def __init__(self, cfg: Config):
        super().__init__(cfg.rate or 0.0)
        self.mode = cfg.mode

    def __call__(self, x: jax.Array, *, key: Key) -> jax.Array:
        """Return x [B, ...] with some rows zero, or all of them."""
        num_draws = x.shape[0] if self.mode == "row" else 1
        return self._zero(x, key=key, shape=(num_draws, *(1,) * (x.ndim - 1)))
