"""The devices at hand: what they are called, and the mesh that they form."""

import collections
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from axl_exp.mesh import (
    MESH_AXES,
    AnyMeshShape,
    HardwareSelector,
    HybridMeshShape,
    UnknownHardwareError,
    axis_sizes,
    infer_mesh_shape,
    parse_selector,
    selector_of_devices,
    split_over_slices,
)
from axl_exp.mesh.hardware import GPU_MEMORY_SHARE
from axl_exp.run.accelerators import may_have_accelerator
from axl_exp.train.processes import process_count

AUTO = "auto"
# `jax.Device` is a variable to type checkers, so no type.
Devices = Sequence[Any]


def select_devices(selector: str = AUTO) -> HardwareSelector:
    """Return the selector of this machine's devices, after making `cpu-N` show N of them.

    Call it before anything else touches JAX's backend.

    Args:
        selector: "auto" for whatever is there; or a selector that the devices must match, where
            `cpu-N` makes the host show N devices.

    Raises:
        UnknownHardwareError: The devices are not what the selector says, or not in the table.
    """
    wanted = None if selector == AUTO else parse_selector(selector)
    # What dry runs count with; the user's own setting wins.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(GPU_MEMORY_SHARE))
    if wanted is not None and wanted.platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", _own_cpu_devices(wanted))
    is_chosen = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if wanted is None and not is_chosen and not may_have_accelerator():
        # Else JAX asks every plugin that is installed, and libtpu complains aloud of a missing TPU.
        jax.config.update("jax_platforms", "cpu")
    try:
        devices = jax.devices()
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise UnknownHardwareError(
            f"JAX finds no devices here ({first_line}). Run on the CPU with --mesh=cpu-1."
        ) from error
    found = selector_of_devices(
        platform=devices[0].platform,
        device_kind=devices[0].device_kind,
        num_devices=len(devices),
        num_slices=num_slices(devices),
    )
    if wanted is not None and wanted != found:
        raise UnknownHardwareError(
            f"--mesh={wanted}: this machine is {found}. Leave --mesh out to use what is here, or "
            "launch on that hardware."
        )
    return found


def _own_cpu_devices(wanted: HardwareSelector) -> int:
    count = process_count()
    if wanted.num_devices % count:
        raise UnknownHardwareError(
            f"--mesh={wanted} does not divide into {count} processes; use a multiple of {count}."
        )
    return wanted.num_devices // count


def num_slices(devices: Devices) -> int:
    """Return how many TPU slices the devices form; 1 for everything else."""
    return len({getattr(d, "slice_index", None) or 0 for d in devices})


def make_mesh(shape: AnyMeshShape, devices: Devices) -> Mesh:
    """Return the mesh of `devices` with our axis names, laid out for their network.

    Raises:
        MeshShapeError: The shape does not multiply to the devices.
    """
    slices = num_slices(devices)
    shape = infer_mesh_shape(shape, num_devices=len(devices), num_slices=slices)
    if slices > 1 and not isinstance(shape, HybridMeshShape):
        shape = split_over_slices(shape, num_slices=slices)
    if isinstance(shape, HybridMeshShape) and slices > 1:
        ici, dcn = (tuple(axis_sizes(part).values()) for part in (shape.ici, shape.dcn))
        grid = _on_network(mesh_utils.create_hybrid_device_mesh, ici, dcn, devices)
    elif devices[0].platform == "cpu":
        grid = np.asarray(devices).reshape(tuple(axis_sizes(shape).values()))
    else:
        sizes = tuple(axis_sizes(shape).values())
        grid = _on_network(mesh_utils.create_device_mesh, sizes, devices)
    return Mesh(grid, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _on_network(make: Callable[..., np.ndarray], *args: Any) -> np.ndarray:
    """Return what `make` gives, with whole rings of a torus to each axis where the sizes allow."""
    try:
        return make(*args)
    except NotImplementedError:  # 64 x 4 on a torus of 16 x 16: an axis takes a part of a ring.
        return make(*args, allow_split_physical_axes=True)


def describe_devices(devices: Devices) -> str:
    """Return what a person calls them: `8 x NVIDIA H100 80GB HBM3`."""
    kinds = collections.Counter(d.device_kind for d in devices)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
