"""How many devices lie along each mesh axis, and the inference of the one that is left open."""

import math

from axl_exp.config import ConfigBase, config_class
from axl_exp.errors import UserError
from axl_exp.mesh.axes import BATCH_AXES, MESH_AXES


class MeshShapeError(UserError):
    """A mesh shape that does not make a mesh of the devices at hand."""


@config_class
class MeshShape(ConfigBase):
    """Devices along each axis. At most one axis may be -1: all devices that the others leave."""

    # Stages of a pipeline.
    pipeline: int = 1
    # Replicas of the parameters, each with its share of the batch.
    data: int = 1
    # Experts of a mixture; the batch is divided over this axis too.
    expert: int = 1
    # Shards of parameters and optimizer state, each with its share of the batch.
    fsdp: int = 1
    # Shards of the sequence.
    seq: int = 1
    # Shards of heads and hidden units (tensor parallelism).
    model: int = 1


@config_class
class HybridMeshShape(ConfigBase):
    """A mesh over several slices: along each axis, `ici` devices in a slice times `dcn` slices."""

    # Devices along each axis within one slice, over its fast links.
    ici: MeshShape = MeshShape()
    # Slices along each axis, over the data center network.
    dcn: MeshShape = MeshShape()


AnyMeshShape = MeshShape | HybridMeshShape


def axis_sizes(shape: AnyMeshShape) -> dict[str, int]:
    """Return the size of every axis, outermost first; of a hybrid shape, over all slices."""
    if isinstance(shape, HybridMeshShape):
        ici, dcn = axis_sizes(shape.ici), axis_sizes(shape.dcn)
        return {axis: ici[axis] * dcn[axis] for axis in MESH_AXES}
    return {axis: getattr(shape, axis) for axis in MESH_AXES}


def num_batch_shards(shape: AnyMeshShape) -> int:
    """Return into how many equal parts the mesh divides the examples of a batch."""
    sizes = axis_sizes(shape)
    return math.prod(sizes[axis] for axis in BATCH_AXES)


def describe_mesh_shape(shape: AnyMeshShape) -> str:
    """Return the axes that matter, such as `data=4, fsdp=256`; `1 device` where none is split."""
    if isinstance(shape, HybridMeshShape):
        ici, dcn = describe_mesh_shape(shape.ici), describe_mesh_shape(shape.dcn)
        return f"in a slice {ici}; over slices {dcn}"
    split = [f"{axis}={size}" for axis, size in axis_sizes(shape).items() if size != 1]
    return ", ".join(split) or "1 device"


def infer_mesh_shape(shape: AnyMeshShape, *, num_devices: int, num_slices: int = 1) -> AnyMeshShape:
    """Return a copy of `shape` whose -1 is resolved, so that its sizes multiply to the devices.

    A hybrid shape is resolved in two parts: `dcn` over the slices, `ici` within one.

    Raises:
        MeshShapeError: More than one -1, a size below 1, or sizes that do not multiply to the
            number of devices. The message names the sizes that would do.
    """
    if isinstance(shape, HybridMeshShape):
        per_slice, rest = divmod(num_devices, num_slices)
        if rest:
            raise MeshShapeError(f"{num_devices} devices do not form {num_slices} equal slices.")
        return HybridMeshShape(
            ici=_infer(shape.ici, per_slice, "mesh_shape.ici", "devices per slice"),
            dcn=_infer(shape.dcn, num_slices, "mesh_shape.dcn", "slices"),
        )
    return _infer(shape, num_devices, "mesh_shape", "devices")


def split_over_slices(shape: MeshShape, *, num_slices: int) -> HybridMeshShape:
    """Return the hybrid shape that lays `num_slices` along the outermost axis longer than 1.

    The outermost axis communicates least, so the slow network between slices belongs there.

    Args:
        shape: A resolved shape (no -1) over all devices.
        num_slices: How many slices they form.

    Raises:
        MeshShapeError: That axis does not divide by the number of slices.
    """
    sizes = axis_sizes(shape)
    outermost = next((axis for axis, size in sizes.items() if size > 1), MESH_AXES[0])
    if sizes[outermost] % num_slices:
        raise MeshShapeError(
            f"mesh_shape {describe_mesh_shape(shape)} cannot lie over {num_slices} slices: its "
            f"outermost axis {outermost}={sizes[outermost]} does not divide by {num_slices}. "
            "Give a HybridMeshShape."
        )
    ici = {**sizes, outermost: sizes[outermost] // num_slices}
    return HybridMeshShape(ici=MeshShape(**ici), dcn=MeshShape(**{outermost: num_slices}))


def _infer(shape: MeshShape, num_devices: int, path: str, unit: str) -> MeshShape:
    """Resolve one part of a mesh shape; `path` and `unit` are for the error texts."""
    sizes = axis_sizes(shape)
    where = f"{path} {describe_mesh_shape(shape)}"
    bad = [axis for axis, size in sizes.items() if size < 1 and size != -1]
    if bad:
        raise MeshShapeError(f"{where}: {bad[0]} must be at least 1, or -1 for all that remain.")
    open_axes = [axis for axis, size in sizes.items() if size == -1]
    if len(open_axes) > 1:
        raise MeshShapeError(
            f"{where}: only one axis can be -1; give {' or '.join(open_axes)} a size."
        )
    fixed = {axis: size for axis, size in sizes.items() if size > 1}
    product = math.prod(fixed.values())
    if open_axes and num_devices % product == 0:
        return shape.clone(**{open_axes[0]: num_devices // product})
    if not open_axes and num_devices == product:
        return shape.clone()
    given = " * ".join(f"{axis}={size}" for axis, size in fixed.items())
    relation = "does not divide" if open_axes else "is not"
    is_product = f" = {product}" if len(fixed) > 1 else ""
    raise MeshShapeError(
        f"{where}: {given or '1'}{is_product} {relation} the number of {unit}, "
        f"{num_devices}.{_sizes_that_would_do(fixed, open_axes, num_devices)}"
    )


def _sizes_that_would_do(fixed: dict[str, int], open_axes: list[str], num_devices: int) -> str:
    """Return ` Would do: ...` with every change of a single axis that makes the mesh fit."""
    options = []
    for axis, size in fixed.items():
        others = math.prod(fixed.values()) // size
        if num_devices % others:
            continue
        quotient = num_devices // others
        if open_axes:  # Anything that divides what the other axes leave.
            divisors = [d for d in range(1, quotient + 1) if quotient % d == 0]
            options.append(f"{axis}={'|'.join(map(str, divisors))}")
        else:
            options.append(f"{axis}={quotient}")
    if not fixed:
        options.append("one axis -1")
    return f" Would do: {', or '.join(options)}." if options else " Set one axis to -1."
