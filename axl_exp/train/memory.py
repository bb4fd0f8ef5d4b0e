"""Will it fit? What a step needs per device, what there is, and the refusal where it does not.

Two looks: before anything is compiled, at what must be there in any case (parameters, optimizer
state, gradients); and after compilation, at the compiler's own count. Nothing is allocated before
both have passed.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax

from axl_exp.errors import UserError
from axl_exp.report.text import format_bytes
from axl_exp.train.devices import Devices

# What the Python process, its libraries and the input pipeline take beside the arrays on a host
# whose memory is the device's: measured at 1.0 to 1.3 GiB after the first step of fuji-tiny.
_HOST_OVERHEAD_BYTES = 3 * 2**29


class DoesNotFitError(UserError):
    """The run needs more memory than there is."""


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes per device.

    Attributes:
        params_bytes: Parameters.
        opt_state_bytes: Optimizer state.
        gradients_bytes: Gradients, in the dtype of the parameters.
        host_bytes: What of the optimizer state waits in the host's memory, and is not in
            `opt_state_bytes`; 0 for host devices, whose memory it is.
        compiled_bytes: The compiler's peak for the whole step, arguments included; None before.
        checkpoint_copy_bytes: The copy that a checkpoint is written from while training goes on;
            0 where that is in other memory, or no checkpoints are made.
    """

    params_bytes: int
    opt_state_bytes: int
    gradients_bytes: int
    host_bytes: int = 0
    compiled_bytes: int | None = None
    checkpoint_copy_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """The most that is known to be needed."""
        floor = self.params_bytes + self.opt_state_bytes + self.gradients_bytes
        return max(floor, self.compiled_bytes or 0) + self.checkpoint_copy_bytes


def bytes_per_device(tree: Any) -> int:
    """Return the bytes that a tree of sharded `ShapeDtypeStruct`s or arrays takes on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def host_bytes_per_device(tree: Any) -> int:
    """Return how many of those bytes wait in the host's memory instead."""
    return bytes_per_device(
        [leaf for leaf in jax.tree.leaves(tree) if leaf.sharding.memory_kind == "pinned_host"]
    )


def compiled_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Return the compiler's peak of device memory for a program; None if it does not tell.

    On a TPU the peak without the gaps between arrays: libtpu's temporaries count part of a program
    with loops again (see `axl_exp.dryrun.compiled.memory`), and it refuses by itself what does not
    fit.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    executable = compiled.runtime_executable()
    if executable is not None and executable.client.platform == "tpu":
        return analysis.peak_memory_in_bytes
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def available_bytes(devices: Devices) -> int | None:
    """Return the memory that each device can give to a run; None where nobody knows.

    Host devices share the host: its available memory, or the rest of this container's limit.
    """
    if devices[0].platform == "cpu":
        host = available_host_bytes()
        return None if host is None else (host - _HOST_OVERHEAD_BYTES) // len(devices)
    stats = devices[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def available_host_bytes() -> int | None:
    """Return the memory that this process may still take: of the host, and of its cgroup."""
    free = [b for b in (_meminfo_available(), _cgroup_available()) if b is not None]
    return min(free) if free else None


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    kib = fields.get("MemAvailable", "").split()
    return int(kib[0]) * 1024 if kib else None


def _cgroup_available() -> int | None:
    """The limit of this control group (v2, then v1) minus what is used and cannot be dropped."""
    root = Path("/sys/fs/cgroup")
    for limit, usage, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            total, used = (root / limit).read_text().strip(), int((root / usage).read_text())
            counters = dict(line.split() for line in (root / stat).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if total != "max":
            return int(total) - used + int(counters.get(cache, 0))
    return None


def check_fits(
    memory: StepMemory, *, available: int | None, config: str, num_devices: int, platform: str
) -> None:
    """Raise DoesNotFitError, which names what is needed, what there is and three ways on.

    Args:
        memory: What the step needs per device.
        available: What each device has to give; None passes.
        config: The config's name.
        num_devices: How many devices share the run.
        platform: `cpu`, `gpu` or `tpu`.
    """
    if available is None or memory.needed_bytes <= available:
        return
    parts = [
        f"parameters {format_bytes(memory.params_bytes)}",
        f"optimizer state {format_bytes(memory.opt_state_bytes)}",
        f"gradients {format_bytes(memory.gradients_bytes)}",
    ]
    if memory.checkpoint_copy_bytes:
        parts.append(f"copy for checkpoints {format_bytes(memory.checkpoint_copy_bytes)}")
    rest = memory.needed_bytes - sum(
        (
            memory.params_bytes,
            memory.opt_state_bytes,
            memory.gradients_bytes,
            memory.checkpoint_copy_bytes,
        )
    )
    if rest > 0:
        parts.append(f"activations and temporaries {format_bytes(rest)}")
    total = memory.needed_bytes * num_devices
    where = "this machine" if platform == "cpu" else "each device"
    share = num_devices if platform == "cpu" else 1
    raise DoesNotFitError(
        f"{config} does not fit: {where} would need {format_bytes(memory.needed_bytes * share)} "
        f"({', '.join(parts)}) and has {format_bytes(max(available, 0) * share)} to give. Ways on: "
        "(1) a smaller model, such as --config=fuji-tiny; "
        "(2) fewer layers, --config.model.decoder.transformer.num_layers=2; "
        f"(3) hardware with {format_bytes(total)} in all, over which its mesh rule shards the run."
    )
