"""Gathers of shards within a program of each device, and what becomes of their gradients."""

import functools
import math

import jax

from axl_exp.model.sharding import platform_in_use


def gather_shards(x: jax.Array, mesh_axes: tuple[str, ...], *, dim: int) -> jax.Array:
    """Return what all devices along `mesh_axes` hold, put together along `dim`.

    Of its gradient each device gets its shard of the sum.
    """
    mesh_shape = jax.sharding.get_abstract_mesh().shape
    axes = tuple(axis for axis in mesh_axes if mesh_shape[axis] > 1)
    if not axes:
        return x
    if len(axes) == 1 and _sums_whole(mesh_shape[axes[0]]):
        return _gather_and_scatter_twice(x, axes[0], dim)
    return jax.lax.all_gather(x, axes, axis=dim, tiled=True)


def _sums_whole(num_shards: int) -> bool:
    """Return whether a sum of which each device keeps its shard would be whole on every device.

    libtpu (0.0.42) makes it so for 16, 64 and 256 chips of v5e, and scatters it for 2, 4, 8, 32 and
    128. Of v4 and v5p other numbers are summed too (docs/performance.md).
    """
    return platform_in_use() == "tpu" and num_shards in (16, 64, 256)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather_and_scatter_twice(x: jax.Array, mesh_axis: str, dim: int) -> jax.Array:
    """Return what all devices along an axis hold; its gradient is scattered in two stages.

    First among every fourth, eighth or sixteenth device, then among neighbours: so shards come out
    in their order. Reordered before, a table's gradient had libtpu transpose that of all logits.
    """
    return jax.lax.all_gather(x, mesh_axis, axis=dim, tiled=True)


def _scatter_twice(mesh_axis: str, dim: int, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    side = math.isqrt(jax.sharding.get_abstract_mesh().shape[mesh_axis])
    neighbours = [[row * side + column for column in range(side)] for row in range(side)]
    across = [list(group) for group in zip(*neighbours, strict=True)]
    for groups in (across, neighbours):
        gradient = jax.lax.psum_scatter(
            gradient, mesh_axis, scatter_dimension=dim, axis_index_groups=groups, tiled=True
        )
    return (gradient,)


_gather_and_scatter_twice.defvjp(
    lambda x, mesh_axis, dim: (_gather_and_scatter_twice(x, mesh_axis, dim), None), _scatter_twice
)
