"""Whether a host may have accelerators, known without JAX."""

from __future__ import annotations

import sys
from pathlib import Path

# Under /dev: TPUs (two drivers), NVIDIA's GPUs (and in WSL), AMD's.
_DEVICE_FILES = ("accel*", "vfio/[0-9]*", "nvidia[0-9]*", "nvidiactl", "dxg", "kfd")


def may_have_accelerator() -> bool:
    """Return whether the host shows any device file of a TPU or GPU; only Linux tells."""
    if sys.platform != "linux":
        return True
    return any(next(Path("/dev").glob(pattern), None) for pattern in _DEVICE_FILES)
