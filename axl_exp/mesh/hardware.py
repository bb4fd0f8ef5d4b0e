"""What the chips can do: one table, every constant with its source.

Peaks are dense bfloat16 FLOP/s per chip. Vendors that quote sparse peaks are halved here. A CPU has
no entry: its peak depends on clock, vector width and neighbours, so MFU is not defined for it.
"""

from __future__ import annotations

import dataclasses

_TERA = 10**12
_GIGA = 10**9
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
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
    """Other names in selectors: product names and machine types that hold this chip."""

    named_cores: int = 1
    """What the number in a selector counts per chip: Google names v4 and v5p slices by TensorCores,
    two per chip, though JAX sees one device per chip (megacore)."""


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
        source=_CLOUD_TPU + "v4: 275 TFLOPs, 32 GiB; 1228 GBps in its comparison with v5p",
        named_cores=2,
    ),
    Chip(
        name="v5e",
        platform="tpu",
        peak_flops_per_second=197 * _TERA,
        hbm_bytes=16 * _GIB,
        hbm_bytes_per_second=819 * _GIGA,
        device_kinds=("TPU v5 lite", "TPU v5e"),
        source=_CLOUD_TPU + "v5e: 197 TFLOPs, 16 GB, 819 GBps",
        aliases=("v5litepod",),
    ),
    Chip(
        name="v5p",
        platform="tpu",
        peak_flops_per_second=459 * _TERA,
        hbm_bytes=95 * _GIB,
        hbm_bytes_per_second=2765 * _GIGA,
        device_kinds=("TPU v5", "TPU v5p"),
        source=_CLOUD_TPU + "v5p: 459 TFLOPs, 95 GB, 2765 GBps",
        named_cores=2,
    ),
    Chip(
        name="v6e",
        platform="tpu",
        peak_flops_per_second=918 * _TERA,
        hbm_bytes=32 * _GIB,
        hbm_bytes_per_second=1640 * _GIGA,
        device_kinds=("TPU v6 lite", "TPU v6e"),
        source=_CLOUD_TPU + "v6e (Trillium): 918 TFLOPs, 32 GB, 1640 GBps",
    ),
    Chip(
        name="a100",
        platform="gpu",
        peak_flops_per_second=312 * _TERA,
        hbm_bytes=80 * _GIB,
        hbm_bytes_per_second=2039 * _GIGA,
        device_kinds=("NVIDIA A100-SXM4-80GB",),
        source=_NVIDIA + "A100 80GB SXM: 312 TFLOPS, 80 GB HBM2e, 2039 GB/s",
        aliases=("p4de.24xlarge", "a2-ultragpu-8g"),
    ),
    Chip(
        name="a100-40gb",
        platform="gpu",
        peak_flops_per_second=312 * _TERA,
        hbm_bytes=40 * _GIB,
        hbm_bytes_per_second=1555 * _GIGA,
        device_kinds=("NVIDIA A100-SXM4-40GB",),
        source=_NVIDIA + "A100 40GB SXM: 312 TFLOPS, 40 GB HBM2, 1555 GB/s",
        aliases=("p4d.24xlarge", "a2-highgpu-8g"),
    ),
    Chip(
        name="h100",
        platform="gpu",
        peak_flops_per_second=989 * _TERA,
        hbm_bytes=80 * _GIB,
        hbm_bytes_per_second=3352 * _GIGA,
        device_kinds=("NVIDIA H100 80GB HBM3",),
        source=_NVIDIA + "H100 SXM: 1979 TFLOPS with sparsity, 80 GB HBM3, 3.35 TB/s",
        aliases=("p5.48xlarge", "a3-highgpu-8g", "a3-megagpu-8g"),
    ),
    Chip(
        name="h200",
        platform="gpu",
        peak_flops_per_second=989 * _TERA,
        hbm_bytes=141 * _GIGA,
        hbm_bytes_per_second=4800 * _GIGA,
        device_kinds=("NVIDIA H200",),
        source=_NVIDIA + "H200 SXM: 1979 TFLOPS with sparsity, 141 GB HBM3e, 4.8 TB/s",
        aliases=("p5e.48xlarge", "p5en.48xlarge", "a3-ultragpu-8g"),
    ),
    Chip(
        name="b200",
        platform="gpu",
        peak_flops_per_second=2250 * _TERA,
        hbm_bytes=180 * _GIGA,
        hbm_bytes_per_second=8000 * _GIGA,
        device_kinds=("NVIDIA B200",),
        source=_NVIDIA + "B200 in HGX B200: 4.5 PFLOPS with sparsity, 180 GB HBM3e, 8 TB/s",
        aliases=("p6-b200.48xlarge", "a4-highgpu-8g"),
    ),
)

_BY_NAME = {(chip.platform, name): chip for chip in CHIPS for name in (chip.name, *chip.aliases)}
_BY_DEVICE_KIND = {kind: chip for chip in CHIPS for kind in chip.device_kinds}


def find_chip(name: str, *, platform: str) -> Chip | None:
    """Return the chip that a selector calls `name` (its own name or an alias), or None."""
    return _BY_NAME.get((platform, name))


def chip_of_device_kind(device_kind: str) -> Chip | None:
    """Return the chip that JAX reports as `device_kind`; None for a CPU or one not in the table.

    The match is exact: an H100 PCIe has another peak than an H100 SXM, and a wrong peak makes a
    wrong MFU, while None makes none.
    """
    return _BY_DEVICE_KIND.get(device_kind)
