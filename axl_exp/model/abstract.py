"""What a model would be, without its weights: shapes, counts, at no memory and in no time."""

import math
from typing import Any

import jax
from flax import nnx

from axl_exp.config import InstantiableConfig


def abstract_model(cfg: InstantiableConfig) -> Any:
    """Return the model of `cfg` with a `jax.ShapeDtypeStruct` as the value of each parameter."""
    return nnx.eval_shape(lambda: cfg.instantiate(rngs=nnx.Rngs(0)))


def num_params(cfg: InstantiableConfig) -> int:
    """Return the number of parameters of the model of `cfg`."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(abstract_model(cfg))))
