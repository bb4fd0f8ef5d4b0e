"""How parameters start: the first pattern that matches a parameter's name says which distribution.

Scales start at 1 and are not drawn. Each drawn value carries its description as the name of its
operation (`jax.ad_checkpoint.checkpoint_name`), so that the traced program of a model's start says
of every parameter how it is drawn: golden files print it.
"""

import math
import re
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from axl_exp.config import Configurable, InstantiableConfig, config_class
from axl_exp.errors import UserError


class WeightInitializer(Configurable):
    """Draws a weight with mean 0 and variance scale / fan (LeCun et al. 1998, section 4.6)."""

    @config_class
    class Config(Configurable.Config):
        """What to draw."""

        # The shape of the distribution; both have the same variance.
        distribution: Literal["normal", "uniform"] = "normal"
        # Which size divides the variance: of the input dims, of the output dims, or none.
        fan: Literal["fan_in", "fan_out"] | None = "fan_in"
        # The variance where the fan is 1.
        scale: float = 1.0

    def __init__(self, cfg: Config):
        self.distribution = cfg.distribution
        self.fan = cfg.fan
        self.scale = cfg.scale

    def __call__(
        self, key: jax.Array, shape: Sequence[int], *, in_dims: Sequence[int]
    ) -> jax.Array:
        """Return a float32 weight of `shape`; `in_dims` are the dims that its product sums over."""
        deviation = self._deviation(shape, in_dims)
        if self.distribution == "normal":
            return jax.random.normal(key, shape, jnp.float32) * deviation
        limit = math.sqrt(3.0) * deviation
        return jax.random.uniform(key, shape, jnp.float32, -limit, limit)

    def describe(self, shape: Sequence[int], *, in_dims: Sequence[int]) -> str:
        """Return the distribution with its standard deviation: `normal(0.0156)`."""
        return f"{self.distribution}({self._deviation(shape, in_dims):.4g})"

    def _deviation(self, shape: Sequence[int], in_dims: Sequence[int]) -> float:
        fan_in = math.prod(shape[dim] for dim in in_dims)
        fan = {"fan_in": fan_in, "fan_out": math.prod(shape) // fan_in, None: 1}[self.fan]
        return math.sqrt(self.scale / fan)


class DefaultInitializer(Configurable):
    """Picks the initializer of a parameter by its name."""

    @config_class
    class Config(Configurable.Config):
        """The patterns, in order."""

        # Regex over the parameter's own name, such as `weight`: the first that matches it whole.
        init_by_param_name: dict[str, InstantiableConfig] = {
            ".*weight$": WeightInitializer.default_config()
        }

    def __init__(self, cfg: Config):
        self._rules = [
            (pattern, init.instantiate()) for pattern, init in cfg.init_by_param_name.items()
        ]

    def __call__(
        self, name: str, key: jax.Array, shape: Sequence[int], *, in_dims: Sequence[int]
    ) -> jax.Array:
        """Return the first value of the parameter `name`.

        Raises:
            UserError: No pattern matches.
        """
        for pattern, init in self._rules:
            if re.fullmatch(pattern, name):
                described = getattr(init, "describe", None)
                text = described(shape, in_dims=in_dims) if described else type(init).__name__
                return checkpoint_name(init(key, shape, in_dims=in_dims), text)
        patterns = ", ".join(repr(pattern) for pattern, _ in self._rules)
        raise UserError(
            f"param_init.init_by_param_name: no pattern matches the parameter {name!r} "
            f"(tried {patterns or 'none'}); add one."
        )
