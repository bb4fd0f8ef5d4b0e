"""Products of activations with weights."""

import math
from collections.abc import Callable

import jax
from flax import nnx
from jax.experimental.layout import Layout, with_layout_constraint

from axl_exp.config import Configurable, config_class
from axl_exp.model.base import BaseLayer, parameter
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.sharding import constrain, mesh_is_split, num_shards_in_use, platform_in_use

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
    # The dims stay apart where each may lie over other devices. On one TPU, too: put together, its
    # products of heads take up to 1.7 times as long.
    if mesh_is_split() or platform_in_use() == "tpu":
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


def _sums_whole(weight: jax.Array, logical_axes: tuple[str, str]) -> bool:
    """Return whether the gradient would be summed on every device, not scattered.

    libtpu (0.0.42) does so where each keeps 128 columns: a row of tiles, which it does not cut. Of
    fewer it turns the layout around, of more it cuts.
    """
    num_shards = num_shards_in_use(logical_axes[1])
    is_a_row_of_tiles = weight.shape[1] == 128 * num_shards
    return platform_in_use() == "tpu" and num_shards > 1 and is_a_row_of_tiles


@jax.custom_vjp
def _transposed(weight: jax.Array) -> jax.Array:
    """Return weight.T; its gradient comes row by row, so that it can be scattered by rows."""
    return weight.T


def _transposed_backward(_, gradient: jax.Array) -> tuple[jax.Array]:
    return (with_layout_constraint(gradient, Layout((0, 1))).T,)


_transposed.defvjp(lambda weight: (weight.T, None), _transposed_backward)


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
        weight = self.weight[...]
        logical_axes = self.weight.get_metadata()["logical_axes"][-2:]  # Without that of a stack.
        if _sums_whole(weight, logical_axes):
            rows = constrain(_transposed(weight), *reversed(logical_axes))
            return project(x, rows, in_dims_last=True, dot_general=self.dot_general)
        return project(x, weight, dot_general=self.dot_general)
