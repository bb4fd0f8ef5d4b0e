"""From the logical axes of parameters and activations to the axes of the mesh.

A layer names the dims of its tensors by what they mean (`vocab`, `heads`, `batch`); the rules of a
model say which mesh axes split each of them. Layers know no mesh.
"""

import contextlib
import contextvars
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import PartitionSpec

from axl_exp.errors import UserError

# Mesh axes per logical axis: the first varies slowest, none means that the dim is not split.
AxisRules = Mapping[str, tuple[str, ...]]

_FULLY_SHARDED = ("expert", "fsdp", "seq")

# AXLearn's layout: batch over data, expert and fsdp; sequence over seq; heads, hidden units and the
# last dim of every activation over model; what is left of each weight over expert, fsdp and seq.
DEFAULT_LOGICAL_AXIS_RULES: dict[str, tuple[str, ...]] = {
    # Activations.
    "batch": ("data", "expert", "fsdp"),
    "sequence": ("seq",),
    "hidden": ("model",),
    # The dims of the embedding table and of the output head.
    "vocab": _FULLY_SHARDED,
    "vocab_embed": ("model",),
    # The dims of the weights within a layer; `embed` is the one as wide as the residual stream.
    "embed": _FULLY_SHARDED,
    "heads": ("model",),
    "head_dim": (),
    "feed_forward": ("model",),
    # The scale of a norm.
    "norm": (),
    # The layers of a stack.
    "layers": (),
}


class ShardingError(UserError):
    """A tensor that cannot be laid out on the mesh as the rules say."""


def partition_spec(logical_axes: Sequence[str | None], rules: AxisRules) -> PartitionSpec:
    """Return the mesh axes of each dim; a dim of None is whole on every device.

    Raises:
        ShardingError: An axis has no rule, or two dims want the same mesh axis.
    """
    entries = [_mesh_axes(axis, rules) for axis in logical_axes]
    used = [axis for entry in entries for axis in entry]
    if len(set(used)) < len(used):
        twice = next(axis for axis in used if used.count(axis) > 1)
        raise ShardingError(
            f"logical_axis_rules: the dims {tuple(logical_axes)} of one tensor are both split over "
            f"mesh axis {twice!r}; leave it out of one of their rules."
        )
    return PartitionSpec(*(e if len(e) > 1 else e[0] if e else None for e in entries))


def _mesh_axes(logical_axis: str | None, rules: AxisRules) -> tuple[str, ...]:
    if logical_axis is None:
        return ()
    if logical_axis not in rules:
        similar = difflib.get_close_matches(logical_axis, rules, n=3) or sorted(rules)
        raise ShardingError(
            f"logical_axis_rules: no rule for logical axis {logical_axis!r} "
            f"(nearest: {', '.join(similar)}); add one, () leaves the dim whole."
        )
    return tuple(rules[logical_axis])


def param_partition_specs(
    params: Any, rules: AxisRules, *, mesh_shape: Mapping[str, int] | None = None
) -> Any:
    """Return the PartitionSpec of every parameter, in a tree of the same structure.

    Args:
        params: A model, abstract or not, or the `nnx.State` of its parameters.
        rules: Mesh axes per logical axis.
        mesh_shape: The size of each mesh axis (`mesh.shape`); with it, sizes are checked too.

    Returns:
        An `nnx.State` whose `nnx.Param`s hold PartitionSpecs: `jax.tree.map` takes it beside the
        state itself.

    Raises:
        ShardingError: See `partition_spec`; or a dim does not divide by the devices that split it.
    """
    state = nnx.state(params, nnx.Param) if isinstance(params, nnx.Module) else params

    def spec_of(path: tuple[Any, ...], param: nnx.Variable) -> nnx.Variable:
        spec = partition_spec(param.get_metadata()["logical_axes"], rules)
        if mesh_shape is not None:
            name = "/".join(str(getattr(key, "key", key)) for key in path)
            check_divides(f"parameter {name}", param.shape, spec, mesh_shape)
        return param.replace(spec)

    is_param = lambda node: isinstance(node, nnx.Variable)  # noqa: E731
    return jax.tree_util.tree_map_with_path(spec_of, state, is_leaf=is_param)


def check_divides(
    name: str, shape: Sequence[int], spec: PartitionSpec, mesh_shape: Mapping[str, int]
) -> None:
    """Raise ShardingError unless every dim divides by the devices that `spec` splits it over."""
    for dim, entry in enumerate(spec):
        axes = () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)
        sizes = {axis: mesh_shape[axis] for axis in axes if mesh_shape[axis] > 1}
        if shape[dim] % math.prod(sizes.values()):
            mesh_axes = " * ".join(f"{axis}={size}" for axis, size in sizes.items())
            most = math.gcd(shape[dim], math.prod(sizes.values()))
            would_do = f"{'*'.join(sizes)}={most}" + (" or a divisor of it" if most > 1 else "")
            raise ShardingError(
                f"{name} {tuple(shape)}: dim {dim} of size {shape[dim]} does not divide by mesh "
                f"axes {mesh_axes}; change the mesh shape, or its rule in logical_axis_rules. "
                f"Would do: {would_do}."
            )


_rules_in_use: contextvars.ContextVar[AxisRules | None] = contextvars.ContextVar(
    "rules_in_use", default=None
)


@contextlib.contextmanager
def axis_rules(rules: AxisRules | None) -> Iterator[None]:
    """Let `constrain` follow `rules` while this context lasts; a model enters it to trace."""
    token = _rules_in_use.set(rules)
    try:
        yield
    finally:
        _rules_in_use.reset(token)


def rules_in_use() -> AxisRules | None:
    """Return the rules that `axis_rules` was entered with, None outside of it."""
    return _rules_in_use.get()


def constrain(x: jax.Array, *logical_axes: str | None) -> jax.Array:
    """Return `x`, laid out on the mesh of `jax.set_mesh` as the rules in use say.

    Without rules, without a mesh, or on a mesh of one device it is `x` itself: no operation.

    Raises:
        ShardingError: A dim does not divide by the devices that split it.
    """
    rules = _rules_in_use.get()
    if rules is None or not mesh_is_split():
        return x
    spec = partition_spec(logical_axes, rules)
    check_shards(f"activation {logical_axes}", x.shape, spec)
    return jax.lax.with_sharding_constraint(x, spec)


def check_shards(name: str, shape: Sequence[int], spec: PartitionSpec) -> None:
    """Raise ShardingError unless every dim divides over the mesh of `jax.set_mesh`, if any."""
    if mesh_is_split():
        check_divides(name, shape, spec, jax.sharding.get_abstract_mesh().shape)


def map_shards(
    function: Callable[..., jax.Array],
    *,
    in_specs: tuple[PartitionSpec, ...],
    out_specs: PartitionSpec,
) -> Callable[..., jax.Array]:
    """Return `function` as a program of each device on its shards; itself where there is one.

    What crosses devices is then what the function says, and the same backwards: the derivative of a
    gather is a sum of which each device gets its shard.
    """
    if not mesh_is_split():
        return function
    return jax.shard_map(function, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def mesh_is_split() -> bool:
    """Return whether the mesh of `jax.set_mesh` has more than one device."""
    return jax.sharding.get_abstract_mesh().size > 1


def platform_in_use() -> str:
    """Return the platform that is traced for: that of the mesh in use, else JAX's default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def axes_in_use(logical_axis: str) -> tuple[str, ...]:
    """Return the axes of the mesh in use that split a logical axis; none without rules or mesh."""
    rules = _rules_in_use.get()
    return () if rules is None or not mesh_is_split() else _mesh_axes(logical_axis, rules)


def num_shards_in_use(logical_axis: str) -> int:
    """Return how many devices share a dim of this logical axis, on the mesh in use."""
    mesh_shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(mesh_shape[axis] for axis in axes_in_use(logical_axis))


def spec_in_use(*logical_axes: str | None) -> PartitionSpec:
    """Return the mesh axes of each dim by the rules in use; None leaves a dim whole."""
    return PartitionSpec(*(None if axis is None else axes_in_use(axis) for axis in logical_axes))
