"""What the chips can do: one table, every constant with its source.

Peaks are dense bfloat16 FLOP/s per chip. Vendors that quote sparse peaks are halved here. A CPU has
no entry: its peak depends on clock, vector width and neighbours, so MFU is not defined for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from axl_exp.mesh.machines import MACHINES, Machine

# The share of a GPU's memory that a launch lets JAX take (its own default is 0.75).
GPU_MEMORY_SHARE = 0.92

# The share of a host's memory that a step may fill. The rest is for the runtime, the input and the
# copy that a checkpoint is written from: assumed, nobody publishes it.
HOST_MEMORY_SHARE = 0.8

_TERA = 10**12
_GIGA = 10**9
_MIB = 2**20
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Ici:
    """The wires between the chips of a TPU slice: a grid, closed to a torus where it is long."""

    bytes_per_second: float
    """Of one link, one way; a chip has two links along each dim of the grid."""

    grids: Mapping[int, tuple[int, ...]]
    """The grid of a slice by its number of chips: `{256: (16, 16)}`."""

    wraps_from: int
    """Dims of at least this length, and a multiple of it, are rings; shorter ones are lines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator as JAX sees it: one device."""

    name: str
    """Name in a hardware selector: `v5e` in `tpu-v5e-256`."""

    platform: str
    """`tpu` or `gpu`."""

    peak_flops_per_second: float
    """Dense bfloat16 peak."""

    hbm_bytes: int
    """Capacity on the datasheet. A runtime reserves some: libtpu leaves 15.75 of v5e's 16 GiB."""

    hbm_bytes_per_second: float

    device_kinds: tuple[str, ...]
    """`jax.Device.device_kind` strings that mean this chip."""

    source: str
    """Where the constants stand."""

    aliases: tuple[str, ...] = ()
    """Other names in selectors, beside those of the machine types that hold this chip."""

    usable_hbm_bytes: int
    """What a program may use of it: what libtpu names as available when one does not fit, for a GPU
    the share of it that a launch lets JAX take."""

    shared_on_chip_bytes: int = 0
    """Memory on it that all its cores see, in which a compiler may leave arrays: VMEM where there
    is one core ("How to Scale Your Model", chapter 2), CMEM of v4 (Jouppi et al. 2023)."""

    ici: Ici | None = None
    """How a slice of TPUs is wired; None for a GPU."""

    node_devices: int
    """Chips of one host: the GPUs that NVLink joins, the TPUs that share network cards."""

    nvlink_bytes_per_second: float = 0.0
    """Between the GPUs of a node, out of each of them, one way."""

    network_bytes_per_second: float
    """Between slices or nodes, out of each chip, one way."""

    host_bytes_per_second: float
    """Between the chip and the memory of its host, one way: PCIe. 16 GB/s of a TPU, 32 GB/s of v6e
    ("How to Scale Your Model", chapter 2); 16 lanes of generation 4 of A100, of 5 of later GPUs."""

    speed_in_8_bits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """How many times the bfloat16 peak it multiplies int8, float8; what is missing goes at that."""

    named_cores: int = 1
    """What the number in a selector counts per chip: Google names v4 and v5p slices by TensorCores,
    two per chip, though JAX sees one device per chip (megacore)."""

    def peak_of(self, kind: str) -> float:
        """Return the dense FLOP/s of products of `kind`: int8, float8, or "" for bfloat16."""
        return self.peak_flops_per_second * self.speed_in_8_bits.get(kind, 1)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machine types that hold this chip."""
        return tuple(machine for machine in MACHINES if machine.chip == self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called in selectors."""
        return (self.name, *self.aliases, *(machine.name for machine in self.machines))

    @property
    def usable_host_bytes(self) -> int:
        """What a program may keep in the memory of the host for each chip, on any machine type."""
        per_chip = min(machine.memory_bytes / machine.num_devices for machine in self.machines)
        return int(HOST_MEMORY_SHARE * per_chip)


def _gpu_share(hbm_bytes: int) -> int:
    return int(GPU_MEMORY_SHARE * hbm_bytes)


# The shapes of slices that Google Cloud offers ("TPU v4", "v5e", "v5p", "v6e": configurations).
_GRIDS_2D = {
    1: (1, 1),
    4: (2, 2),
    8: (2, 4),
    16: (4, 4),
    32: (4, 8),
    64: (8, 8),
    128: (8, 16),
    256: (16, 16),
}
_GRIDS_3D = {
    4: (2, 2, 1),
    8: (2, 2, 2),
    16: (2, 2, 4),
    32: (2, 4, 4),
    64: (4, 4, 4),
    128: (4, 4, 8),
    256: (4, 8, 8),
    512: (8, 8, 8),
    1024: (8, 8, 16),
    2048: (8, 16, 16),
    4096: (16, 16, 16),
}
_GRIDS_V5P = _GRIDS_3D | {6144: (16, 16, 24)}

_CLOUD_TPU = "Google Cloud, TPU documentation, system architecture of TPU "
_NVIDIA = "NVIDIA datasheet, "

CHIPS: tuple[Chip, ...] = (
    Chip(
        name="v4",
        platform="tpu",
        peak_flops_per_second=275 * _TERA,
        hbm_bytes=32 * _GIB,
        hbm_bytes_per_second=1228 * _GIGA,
        device_kinds=("TPU v4",),
        usable_hbm_bytes=int(30.75 * _GIB),
        shared_on_chip_bytes=128 * _MIB,
        ici=Ici(50 * _GIGA, _GRIDS_3D, wraps_from=4),
        node_devices=4,
        network_bytes_per_second=6.25 * _GIGA,
        host_bytes_per_second=16 * _GIGA,
        source=_CLOUD_TPU
        + "v4: 275 TFLOPs in bfloat16 or int8, 32 GiB; 1228 GBps in its comparison with v5p"
        + "; 6 links of 50 GB/s: Jouppi et al. 2023, arXiv:2304.01433; network as of v5p, assumed",
        named_cores=2,
    ),
    Chip(
        name="v5e",
        platform="tpu",
        peak_flops_per_second=197 * _TERA,
        speed_in_8_bits={"int8": 2},
        hbm_bytes=16 * _GIB,
        hbm_bytes_per_second=819 * _GIGA,
        device_kinds=("TPU v5 lite", "TPU v5e"),
        usable_hbm_bytes=int(15.75 * _GIB),
        shared_on_chip_bytes=128 * _MIB,
        ici=Ici(50 * _GIGA, _GRIDS_2D, wraps_from=16),
        node_devices=8,
        network_bytes_per_second=3.125 * _GIGA,
        host_bytes_per_second=16 * _GIGA,
        source=_CLOUD_TPU
        + "v5e: 197 TFLOPs (int8 394), 16 GB, 819 GBps"
        + "; ICI 400 GBps both ways over 4 ports; 2 x 100 Gbps per host of 8",
        aliases=("v5litepod", "v5lite"),
    ),
    Chip(
        name="v5p",
        platform="tpu",
        peak_flops_per_second=459 * _TERA,
        speed_in_8_bits={"int8": 2},
        hbm_bytes=95 * _GIB,
        hbm_bytes_per_second=2765 * _GIGA,
        device_kinds=("TPU v5", "TPU v5p"),
        usable_hbm_bytes=int(95.74 * _GIB),
        ici=Ici(100 * _GIGA, _GRIDS_V5P, wraps_from=4),
        node_devices=4,
        network_bytes_per_second=6.25 * _GIGA,
        host_bytes_per_second=16 * _GIGA,
        source=_CLOUD_TPU
        + "v5p: 459 TFLOPs (int8 918), 95 GB, 2765 GBps"
        + "; ICI 1200 GBps both ways over 6 ports; DCN 50 Gbps per chip",
        named_cores=2,
    ),
    Chip(
        name="v6e",
        platform="tpu",
        peak_flops_per_second=918 * _TERA,
        speed_in_8_bits={"int8": 2},
        hbm_bytes=32 * _GIB,
        hbm_bytes_per_second=1640 * _GIGA,
        device_kinds=("TPU v6 lite", "TPU v6e"),
        usable_hbm_bytes=int(31.25 * _GIB),
        shared_on_chip_bytes=128 * _MIB,
        ici=Ici(100 * _GIGA, _GRIDS_2D, wraps_from=16),
        node_devices=8,
        network_bytes_per_second=12.5 * _GIGA,
        host_bytes_per_second=32 * _GIGA,
        source=_CLOUD_TPU
        + "v6e (Trillium): 918 TFLOPs (int8 1836), 32 GB, 1640 GBps"
        + "; ICI 3200 Gbps one way over 4 ports; 4 x 200 Gbps per host of 8",
        aliases=("trillium",),
    ),
    Chip(
        name="a100",
        platform="gpu",
        peak_flops_per_second=312 * _TERA,
        speed_in_8_bits={"int8": 2},
        hbm_bytes=80 * _GIB,
        hbm_bytes_per_second=2039 * _GIGA,
        device_kinds=("NVIDIA A100-SXM4-80GB",),
        usable_hbm_bytes=_gpu_share(80 * _GIB),
        node_devices=8,
        nvlink_bytes_per_second=300 * _GIGA,
        network_bytes_per_second=25 * _GIGA,
        host_bytes_per_second=32 * _GIGA,
        source=_NVIDIA
        + "A100 80GB SXM: 312 TFLOPS (int8 624), 80 GB HBM2e, 2039 GB/s"
        + "; NVLink 600 GB/s both ways; DGX A100: 200 Gb/s per GPU",
        aliases=("a100-80gb",),
    ),
    Chip(
        name="a100-40gb",
        platform="gpu",
        peak_flops_per_second=312 * _TERA,
        speed_in_8_bits={"int8": 2},
        hbm_bytes=40 * _GIB,
        hbm_bytes_per_second=1555 * _GIGA,
        device_kinds=("NVIDIA A100-SXM4-40GB",),
        usable_hbm_bytes=_gpu_share(40 * _GIB),
        node_devices=8,
        nvlink_bytes_per_second=300 * _GIGA,
        network_bytes_per_second=25 * _GIGA,
        host_bytes_per_second=32 * _GIGA,
        source=_NVIDIA
        + "A100 40GB SXM: 312 TFLOPS (int8 624), 40 GB HBM2, 1555 GB/s"
        + "; NVLink 600 GB/s both ways; DGX A100: 200 Gb/s per GPU",
    ),
    Chip(
        name="h100",
        platform="gpu",
        peak_flops_per_second=989 * _TERA,
        speed_in_8_bits={"int8": 2, "float8": 2},
        hbm_bytes=80 * _GIB,
        hbm_bytes_per_second=3352 * _GIGA,
        device_kinds=("NVIDIA H100 80GB HBM3",),
        usable_hbm_bytes=_gpu_share(80 * _GIB),
        node_devices=8,
        nvlink_bytes_per_second=450 * _GIGA,
        network_bytes_per_second=50 * _GIGA,
        host_bytes_per_second=64 * _GIGA,
        source=_NVIDIA
        + "H100 SXM: 1979 TFLOPS with sparsity (int8, fp8 3958), 80 GB HBM3, 3.35 TB/s"
        + "; NVLink 900 GB/s both ways; DGX H100: 400 Gb/s per GPU",
        aliases=("h100-80gb",),
    ),
    Chip(
        name="h200",
        platform="gpu",
        peak_flops_per_second=989 * _TERA,
        speed_in_8_bits={"int8": 2, "float8": 2},
        hbm_bytes=141 * _GIGA,
        hbm_bytes_per_second=4800 * _GIGA,
        device_kinds=("NVIDIA H200",),
        usable_hbm_bytes=_gpu_share(141 * _GIGA),
        node_devices=8,
        nvlink_bytes_per_second=450 * _GIGA,
        network_bytes_per_second=50 * _GIGA,
        host_bytes_per_second=64 * _GIGA,
        source=_NVIDIA
        + "H200 SXM: 1979 TFLOPS with sparsity (int8, fp8 3958), 141 GB HBM3e, 4.8 TB/s"
        + "; NVLink 900 GB/s both ways; DGX H200: 400 Gb/s per GPU",
    ),
    Chip(
        name="b200",
        platform="gpu",
        peak_flops_per_second=2250 * _TERA,
        speed_in_8_bits={"int8": 2, "float8": 2},
        hbm_bytes=180 * _GIGA,
        hbm_bytes_per_second=8000 * _GIGA,
        device_kinds=("NVIDIA B200",),
        usable_hbm_bytes=_gpu_share(180 * _GIGA),
        node_devices=8,
        nvlink_bytes_per_second=900 * _GIGA,
        network_bytes_per_second=50 * _GIGA,
        host_bytes_per_second=64 * _GIGA,
        source=_NVIDIA
        + "B200 in HGX B200: 4.5 PFLOPS with sparsity (int8, fp8 9), 180 GB HBM3e, 8 TB/s"
        + "; NVLink 1.8 TB/s both ways; DGX B200: 400 Gb/s per GPU",
    ),
)

_BY_NAME = {(chip.platform, name): chip for chip in CHIPS for name in chip.names}
_BY_DEVICE_KIND = {kind: chip for chip in CHIPS for kind in chip.device_kinds}


def find_chip(name: str, *, platform: str) -> Chip | None:
    """Return the chip that a selector calls `name`, one of its `names`, or None."""
    return _BY_NAME.get((platform, name))


def chip_of_device_kind(device_kind: str) -> Chip | None:
    """Return the chip that JAX reports as `device_kind`; None for a CPU or one not in the table.

    The match is exact: an H100 PCIe has another peak than an H100 SXM, and a wrong peak makes a
    wrong MFU, while None makes none.
    """
    return _BY_DEVICE_KIND.get(device_kind)
