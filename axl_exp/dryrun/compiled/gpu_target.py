"""GPUs in the words of XLA: the text form of its `GpuTargetConfigProto`."""

from __future__ import annotations

import dataclasses

from axl_exp.errors import UserError
from axl_exp.mesh import Chip


@dataclasses.dataclass(frozen=True)
class _Silicon:
    """What XLA's cost models ask of a GPU beside memory; from NVIDIA's architecture whitepapers."""

    name: str
    compute_capability: tuple[int, int]
    num_multiprocessors: int
    fp32_lanes: int
    """Per multiprocessor."""
    shared_bytes_per_multiprocessor: int
    l2_bytes: int
    clock_ghz: float


_KIB, _MIB = 2**10, 2**20

_SILICON = {
    # "NVIDIA A100 Tensor Core GPU Architecture", table 1.
    "a100": _Silicon("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 164 * _KIB, 40 * _MIB, 1.41),
    "a100-40gb": _Silicon("NVIDIA A100-SXM4-40GB", (8, 0), 108, 64, 164 * _KIB, 40 * _MIB, 1.41),
    # "NVIDIA H100 Tensor Core GPU Architecture", tables 1 and 2.
    "h100": _Silicon("NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 228 * _KIB, 50 * _MIB, 1.98),
    "h200": _Silicon("NVIDIA H200", (9, 0), 132, 128, 228 * _KIB, 50 * _MIB, 1.98),
    # "NVIDIA Blackwell Architecture Technical Brief"; compute capability 10.0 of the CUDA guide.
    "b200": _Silicon("NVIDIA B200", (10, 0), 148, 128, 228 * _KIB, 126 * _MIB, 1.965),
}


def gpu_target_text(chip: Chip) -> str:
    """Return the target description of a GPU of the hardware table.

    Raises:
        UserError: It is not described here.
    """
    if chip.name not in _SILICON:
        raise UserError(
            f"--level=compile has no target description of {chip.name}; add one to "
            "axl_exp/dryrun/compiled/gpu_target.py."
        )
    silicon = _SILICON[chip.name]
    major, minor = silicon.compute_capability
    device = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 48 * _KIB,
        "shared_memory_per_core": silicon.shared_bytes_per_multiprocessor,
        # A kernel of its own leaves 1 KiB of each multiprocessor's to the system.
        "shared_memory_per_block_optin": silicon.shared_bytes_per_multiprocessor - _KIB,
        "threads_per_core_limit": 2048,
        "core_count": silicon.num_multiprocessors,
        "fpus_per_core": silicon.fp32_lanes,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
        "memory_bandwidth": int(chip.hbm_bytes_per_second),
        "l2_cache_size": silicon.l2_bytes,
        "clock_rate_ghz": silicon.clock_ghz,
        "device_memory_size": chip.hbm_bytes,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "device_address_bits": 64,
        "device_vendor": "NVIDIA Corporation",
        "name": silicon.name,
        "platform_version": f"Compute Capability {major}.{minor}",
        "driver_version": "13.0.0",
        "runtime_version": "13.0.0",
        "compile_time_toolkit_version": "13.0.0",
        "dnn_version": "9.10.0",
    }
    fields = " ".join(
        f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}"
        for name, value in device.items()
    )
    return (
        f"gpu_device_info {{ {fields} cuda_compute_capability {{ major: {major} minor: {minor} }} "
        '} platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 } '
        f'device_description_str: "{silicon.name}"'
    )
