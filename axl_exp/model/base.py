"""BaseLayer: what every layer of a model is, and how it declares a parameter."""

import jax
from flax import nnx

from axl_exp.config import Configurable


class BaseLayer(nnx.Module, Configurable):
    """A flax module that is made from a config.

    A layer takes its config first, then what its parent knows: sizes, `param_init` and `rngs` where
    it has parameters to draw. It keeps what it reads of the config as attributes and not the config
    itself, so that its graph definition stays hashable, as flax needs.
    """


def parameter(value: jax.Array, *, logical_axes: tuple[str, ...]) -> nnx.Param:
    """Return a parameter that knows the logical axis of each of its dims (see `sharding`).

    Raises:
        ValueError: There is not one logical axis per dim.
    """
    if len(logical_axes) != value.ndim:
        raise ValueError(f"{value.ndim} dims of {value.shape} need as many axes: {logical_axes}")
    return nnx.Param(value, logical_axes=logical_axes)
