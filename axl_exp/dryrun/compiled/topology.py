"""Devices that are not here: descriptions of hardware that its compiler takes for the real ones."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
from typing import Any

import jax
from jax.experimental import topologies

from axl_exp.dryrun.compiled.gpu_target import gpu_target_text
from axl_exp.errors import UserError
from axl_exp.mesh import HardwareSelector


class CompilerMissingError(UserError):
    """The compiler of the hardware is not installed, or does not fit this JAX."""


class NoTopologyError(UserError):
    """No compiler can compile for this hardware."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """What a compiler is told about the hardware."""

    platform: str
    """As JAX calls the plugin: tpu or cuda."""
    name: str
    """`v5e:16x16`; of GPUs partitions, hosts and devices: `1x4x8`."""
    num_slices: int = 1
    one_device_per_chip: bool = False
    """Both cores of a chip as one device (megacore), where it has two."""
    target: str = ""
    """The GPU as text, see `gpu_target_text`."""


def topology_of(hardware: HardwareSelector) -> Topology:
    """Return the topology of a selector.

    Raises:
        NoTopologyError: There is none: a CPU, or a number of chips that no slice has.
    """
    chip = hardware.chip
    if chip is None:
        raise NoTopologyError(
            f"--level=compile has no compiler for {hardware}, since a launch there compiles at "
            "once; name a TPU or GPU, such as --mesh=tpu-v5e-256."
        )
    if chip.ici is None:
        hosts, rest = divmod(hardware.num_devices, chip.node_devices)
        name = f"1x{hosts}x{chip.node_devices}" if hosts and not rest else f"1x1x{rest}"
        if hosts and rest:
            raise NoTopologyError(
                f"{hardware}: {hardware.num_devices} GPUs do not form whole nodes of "
                f"{chip.node_devices}."
            )
        return Topology("cuda", name, target=gpu_target_text(chip))
    num_chips = hardware.num_devices // hardware.num_slices
    if num_chips not in chip.ici.grids:
        counts = ", ".join(str(count * chip.named_cores) for count in sorted(chip.ici.grids))
        raise NoTopologyError(
            f"{hardware}: no {chip.name} slice has {num_chips} chips. Numbers that do in "
            f"tpu-{chip.name}-<number>: {counts}."
        )
    grid = chip.ici.grids[num_chips]
    return Topology(
        "tpu",
        f"{chip.name}:{'x'.join(map(str, grid))}",
        num_slices=hardware.num_slices,
        one_device_per_chip=chip.named_cores > 1,
    )


def devices_of(topology: Topology) -> list[Any]:
    """Return the devices of a topology, in the compiler's order.

    Raises:
        CompilerMissingError: The plugin is not installed; or it is of another version.
    """
    try:
        return list(_describe(topology).devices)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CompilerMissingError(_advice(topology, error)) from error


def prepare_environment() -> None:
    """Let libtpu load where there is no TPU, and beside another process that has loaded it.

    Before JAX loads it. libtpu would else ask the metadata server of a TPU machine, and take a lock
    file for the one process that may use its TPU.
    """
    os.environ.update(
        TPU_SKIP_MDS_QUERY="1",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",
        TPU_STDERR_LOG_LEVEL="3",
        TPU_MIN_LOG_LEVEL="3",
    )


def compiler_version(topology: Topology) -> str:
    """Return what compiles: `libtpu 0.0.42.1`."""
    for package in _PACKAGES[topology.platform]:
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise CompilerMissingError(_advice(topology, None))


_PACKAGES = {"tpu": ("libtpu",), "cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin")}


def _describe(topology: Topology) -> Any:
    if topology.platform == "cuda":
        return topologies.get_topology_desc(
            platform="cuda", topology=topology.name, target_config=topology.target
        )
    options: dict[str, Any] = {}
    if topology.num_slices > 1:
        options["num_slices"] = topology.num_slices
    if topology.one_device_per_chip:
        options["chip_config_name"] = "megacore"
    if topology.name.endswith(":1x1"):
        # Else a host is taken to have four chips at least.
        options["chips_per_host_bounds"] = [1, 1, 1]
    return topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options)


def _advice(topology: Topology, error: Exception | None) -> str:
    extra = "tpu" if topology.platform == "tpu" else "gpu"
    compiler = "libtpu" if extra == "tpu" else "XLA's CUDA plugin"
    said = f" ({str(error).splitlines()[0][:120]})" if error is not None and str(error) else ""
    return (
        f"--level=compile for {topology.name} needs {compiler} of the version that jax "
        f"{jax.__version__} wants{said}. Install it: pip install 'axl_exp[{extra}]'."
    )
