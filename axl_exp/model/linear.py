"""Products of activations with weights."""

import math
from collections.abc import Callable

import jax
from flax import nnx

from axl_exp.config import Configurable, config_class
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.sharding import mesh_is_split, platform_in_use

DotGeneral = Callable[[jax.Array, jax.Array, jax.lax.DotDimensionNumbers], jax.Array]


class ProductLayer(BaseLayer):
    """A layer that multiplies its input with its weight."""

    # What multiplies; `quantize_products` puts another in its place.
    dot_general: DotGeneral = staticmethod(jax.lax.dot_general)


def project(
    x: jax.Array,
    weight: jax.Array,
    *,
    num_in_dims: int = 1,
    in_dims_last: bool = False,
    dot_general: DotGeneral = jax.lax.dot_general,
) -> jax.Array:
    """Return x [*lead, *in] summed with weight [*in, *out] over the `in` dims: [*lead, *out].

    Args:
        x: Activations.
        weight: [*in, *out], or [*out, *in] with `in_dims_last`.
        num_in_dims: How many dims are summed over.
        in_dims_last: Which end of the weight they are at.
        dot_general: What multiplies.
    """
    lead_shape, in_shape = x.shape[:-num_in_dims], x.shape[-num_in_dims:]
    out_shape = weight.shape[:-num_in_dims] if in_dims_last else weight.shape[num_in_dims:]
    if mesh_is_split():  # The dims stay apart, since each may lie over other devices.
        x_dims = range(len(lead_shape), x.ndim)
        first = weight.ndim - num_in_dims if in_dims_last else 0
        weight_dims = range(first, first + num_in_dims)
        return dot_general(x, weight, ((tuple(x_dims), tuple(weight_dims)), ((), ())))
    # As plain matrices: XLA's CPU backend takes 1.6 times as long for a step with the dims apart.
    in_size = math.prod(in_shape)
    stored = weight.reshape(-1, in_size) if in_dims_last else weight.reshape(in_size, -1)
    matrix = stored.T if in_dims_last else stored
    num_rows, num_columns = stored.shape
    if num_rows > num_columns and platform_in_use() == "cpu":
        # The gradient of a tall matrix takes a CPU 1.5 times as long as that of a wide one, and XLA
        # would move a mere transposition into the product.
        wide = jax.lax.optimization_barrier(stored.T)
        matrix = wide if in_dims_last else wide.T
    product = dot_general(x.reshape(-1, in_size), matrix, (((1,), (0,)), ((), ())))
    return product.reshape(*lead_shape, *out_shape)


class Linear(ProductLayer):
    """x @ weight, without a bias."""

    @config_class
    class Config(Configurable.Config):
        """Nothing of a plain product is a choice."""

    def __init__(
        self,
        cfg: Config,
        *,
        input_dim: int,
        output_dim: int,
        logical_axes: tuple[str, str],
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        weight = param_init("weight", rngs.params(), (input_dim, output_dim), in_dims=(0,))
        self.weight = parameter(weight, logical_axes=logical_axes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return x [..., input_dim] @ weight: [..., output_dim]."""
        return project(x, self.weight[...], dot_general=self.dot_general)
