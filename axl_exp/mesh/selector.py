"""Hardware selectors: the one-word name of the machine that a run is meant for."""

from __future__ import annotations

import dataclasses
import difflib
import re

from axl_exp.errors import UserError
from axl_exp.mesh.hardware import CHIPS, Chip, chip_of_device_kind, find_chip

_FORM = "tpu-<chip>-<number>[-<slices>], gpu-<chip>-<gpus> or cpu-<devices>"


class UnknownHardwareError(UserError):
    """A selector that names no hardware we know."""


@dataclasses.dataclass(frozen=True)
class HardwareSelector:
    """A parsed selector. `str()` of it is the normal form that mesh rules match.

    `tpu-v5litepod-256-4` is `tpu-v5e-256-4`: 4 slices of 256 chips. `gpu-a3-highgpu-8g-64` is
    `gpu-h100-64`: 64 GPUs, 8 to a node. `tpu-v4-1024` has 512 devices, since Google counts
    TensorCores in the names of v4 and v5p. `cpu-8` is 8 host devices.
    """

    platform: str
    chip_name: str
    """Name of the chip in the hardware table; empty for a CPU."""
    number: int
    """The number in the name, per slice."""
    num_slices: int = 1

    def __str__(self) -> str:
        chip = f"-{self.chip_name}" if self.chip_name else ""
        slices = f"-{self.num_slices}" if self.num_slices > 1 else ""
        return f"{self.platform}{chip}-{self.number}{slices}"

    @property
    def chip(self) -> Chip | None:
        """The chip's facts; None for a CPU."""
        return find_chip(self.chip_name, platform=self.platform)

    @property
    def num_devices(self) -> int:
        """Devices that JAX sees, over all slices."""
        return self.number // (self.chip.named_cores if self.chip else 1) * self.num_slices


def parse_selector(text: str) -> HardwareSelector:
    """Return the selector that `text` names, in normal form.

    Raises:
        UnknownHardwareError: The text has another form, or the chip is not in the hardware table.
    """
    if match := re.fullmatch(r"cpu-([1-9]\d*)", text):
        return HardwareSelector("cpu", "", int(match[1]))
    if match := re.fullmatch(r"tpu-([^-]+)-([1-9]\d*)(?:-([1-9]\d*))?", text):
        return _accelerator("tpu", match[1], int(match[2]), int(match[3] or 1))
    if match := re.fullmatch(r"gpu-(.+)-([1-9]\d*)", text):
        return _accelerator("gpu", match[1], int(match[2]), 1)
    raise UnknownHardwareError(
        f"{text!r} is no hardware selector: write {_FORM}, such as tpu-v5e-256 or cpu-1."
    )


def selector_of_devices(
    *, platform: str, device_kind: str, num_devices: int, num_slices: int = 1
) -> HardwareSelector:
    """Return the selector of the devices that JAX found.

    Args:
        platform: `jax.Device.platform`: `cpu`, `gpu` or `tpu`.
        device_kind: `jax.Device.device_kind`, such as `TPU v5 lite`.
        num_devices: How many there are, over all processes and slices.
        num_slices: How many TPU slices they form.

    Raises:
        UnknownHardwareError: The hardware table has no such chip.
    """
    if platform == "cpu":
        return HardwareSelector("cpu", "", num_devices)
    chip = chip_of_device_kind(device_kind)
    if chip is None:
        raise UnknownHardwareError(
            f"This machine's {device_kind!r} is not in axl_exp/mesh/hardware.py. Add it there, or "
            f"name the nearest hardware with --mesh, such as {platform}-<chip>-{num_devices}."
        )
    number = num_devices // num_slices * chip.named_cores
    return HardwareSelector(chip.platform, chip.name, number, num_slices)


def _accelerator(platform: str, name: str, number: int, num_slices: int) -> HardwareSelector:
    chip = find_chip(name, platform=platform)
    if chip is None:
        names = [n for c in CHIPS if c.platform == platform for n in (c.name, *c.aliases)]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise UnknownHardwareError(
            f"Unknown {platform.upper()} {name!r} in a hardware selector. "
            f"Nearest: {', '.join(f'{platform}-{n}-{number}' for n in near)}."
        )
    if number % chip.named_cores:
        raise UnknownHardwareError(
            f"{platform}-{name}-{number}: {chip.name} slices are named by their TensorCores, "
            f"{chip.named_cores} per chip, so the number must divide by {chip.named_cores}."
        )
    selector = HardwareSelector(platform, chip.name, number, num_slices)
    _check_number(selector, chip)
    return selector


def _check_number(selector: HardwareSelector, chip: Chip) -> None:
    """Raise UnknownHardwareError where there is no such slice, or no such number of nodes."""
    if chip.ici is not None:
        chips = selector.number // chip.named_cores
        if chips in chip.ici.grids:
            return
        numbers = [chip.named_cores * count for count in sorted(chip.ici.grids)]
        what = f"no slice of {chip.name} has {chips} chips"
    else:
        rest = selector.number % chip.node_devices
        if rest == 0 or selector.number in (1, 2, 4):
            return
        node = chip.node_devices
        below = selector.number - rest
        numbers = [1, 2, 4, node] if selector.number < node else [below, below + node]
        what = f"a node has {node} GPUs, and several nodes are whole ones"
    near = sorted(numbers, key=lambda number: abs(number - selector.number))[:4]
    hardware = f"{selector.platform}-{chip.name}"
    raise UnknownHardwareError(
        f"{selector}: {what}. Would do: {', '.join(f'{hardware}-{n}' for n in sorted(near))}."
    )
