"""Machine types: the chips in them, and the memory of their host."""

from __future__ import annotations

import dataclasses

_GB = 10**9
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine as a cloud offers it."""

    name: str
    chip: str
    """As the hardware table calls it."""
    num_devices: int
    memory_bytes: int
    """Of the host, all of it."""


# Google Cloud: "TPUs in GKE: machine types" and "Accelerator-optimized machine family", which count
# in GB. Amazon: "Amazon EC2 instance types, accelerated computing", which counts in GiB.
MACHINES: tuple[Machine, ...] = (
    Machine("ct4p-hightpu-4t", "v4", 4, 407 * _GB),
    Machine("ct5lp-hightpu-1t", "v5e", 1, 48 * _GB),
    Machine("ct5lp-hightpu-4t", "v5e", 4, 192 * _GB),
    Machine("ct5lp-hightpu-8t", "v5e", 8, 384 * _GB),
    Machine("ct5p-hightpu-4t", "v5p", 4, 448 * _GB),
    Machine("ct6e-standard-1t", "v6e", 1, 176 * _GB),
    Machine("ct6e-standard-4t", "v6e", 4, 720 * _GB),
    Machine("ct6e-standard-8t", "v6e", 8, 1440 * _GB),
    Machine("p4de.24xlarge", "a100", 8, 1152 * _GIB),
    Machine("a2-ultragpu-8g", "a100", 8, 1360 * _GB),
    Machine("p4d.24xlarge", "a100-40gb", 8, 1152 * _GIB),
    Machine("a2-highgpu-8g", "a100-40gb", 8, 680 * _GB),
    Machine("p5.48xlarge", "h100", 8, 2048 * _GIB),
    Machine("a3-highgpu-8g", "h100", 8, 1872 * _GB),
    Machine("a3-megagpu-8g", "h100", 8, 1872 * _GB),
    Machine("p5e.48xlarge", "h200", 8, 2048 * _GIB),
    Machine("p5en.48xlarge", "h200", 8, 2048 * _GIB),
    Machine("a3-ultragpu-8g", "h200", 8, 2952 * _GB),
    Machine("p6-b200.48xlarge", "b200", 8, 2048 * _GIB),
    Machine("a4-highgpu-8g", "b200", 8, 3968 * _GB),
)

_BY_NAME = {machine.name: machine for machine in MACHINES}


def find_machine(name: str) -> Machine | None:
    """Return the machine type of that name, or None."""
    return _BY_NAME.get(name)
