"""Hardware selectors: the one-word name of the machine that a run is meant for."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re

from axl_exp.errors import UserError
from axl_exp.mesh.hardware import CHIPS, Chip, chip_of_device_kind, find_chip
from axl_exp.mesh.machines import find_machine

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

    The names of the field mean what they do there: `v5litepod-256` is `tpu-v5e-256`, and a machine
    type without a number, `a3-highgpu-8g`, is one such machine.

    Raises:
        UnknownHardwareError: The text has another form, or the chip is not in the hardware table.
    """
    name = text.strip().lower().replace("_", "-")
    if match := re.fullmatch(r"cpu-([1-9]\d{0,8})", name):
        return HardwareSelector("cpu", "", int(match[1]))
    match = re.fullmatch(r"(?:(tpu|gpu)-)?(.+?)(?:-([1-9]\d{0,8})(?:-([1-9]\d{0,8}))?)?", name)
    platform, what, *numbers = match.groups() if match else (None, name)
    numbers = [int(number) for number in numbers if number]
    chip = find_chip(what, platform=platform) if platform else _find_anywhere(what)
    machine = find_machine(what)
    if chip is not None and machine is not None and not numbers:
        numbers = [machine.num_devices * chip.named_cores]
    if chip is None or not 1 <= len(numbers) <= (2 if chip.platform == "tpu" else 1):
        raise UnknownHardwareError(_not_known(text, name, platform))
    return _accelerator(chip, what, *numbers)


def _find_anywhere(name: str) -> Chip | None:
    return find_chip(name, platform="tpu") or find_chip(name, platform="gpu")


def _not_known(text: str, name: str, platform: str | None) -> str:
    """Say what is wrong with a selector, with those that may be meant."""
    if name == "auto":
        return "'auto' is for a launch, which looks for devices: name the hardware, as tpu-v5e-256."
    names = {known: chip for chip in CHIPS for known in chip.names}
    wrong = f"{text!r} is no hardware selector: write {_FORM}"
    rest = re.sub("^(tpu|gpu|cpu)-?", "", name)
    if held := max((known for known in names if known in rest), key=len, default=""):
        # A known name in another form: h100x8, tpu-v5e-16x16.
        return f"{wrong}. Nearest: {_meant(names[held], rest.replace(held, ' ', 1))}."
    if not (match := re.fullmatch(r"(.+?)(?:-(\d+)(?:-\d+)?)?", rest)) or name.startswith("cpu"):
        return f"{wrong}, such as tpu-v5e-256 or cpu-1."
    what, number = match.groups()
    known = [n for n, chip in names.items() if platform in (None, chip.platform)]
    near = difflib.get_close_matches(what, known, n=6, cutoff=0.4) or (known if platform else [])
    chips = list({names[n].name: names[n] for n in near}.values())[:3]
    if not chips:
        return f"{wrong}, such as tpu-v5e-256 or cpu-1."
    would_do = [f"{chip.platform}-{chip.name}-{number or _one_host(chip)}" for chip in chips]
    kind = f"{platform.upper()} {what!r} in a hardware selector" if platform else f"chip {what!r}"
    return f"Unknown {kind}. Nearest: {', '.join(would_do)}."


def _meant(chip: Chip, rest: str) -> str:
    """The selector of a chip that is written in another form, by the numbers beside its name."""
    numbers = [int(number) for number in re.findall(r"[1-9]\d{0,8}", rest)]
    sizes = [[number] for number in reversed(numbers)]
    if re.search(r"\d+x\d+", rest) or (len(numbers) > 1 and chip.platform == "gpu"):
        sizes.insert(0, [math.prod(numbers) * chip.named_cores])
    elif len(numbers) > 1:
        sizes.insert(0, numbers[:2])
    for size in sizes:
        try:
            return str(_accelerator(chip, chip.name, *size))
        except UnknownHardwareError:
            continue
    return f"{chip.platform}-{chip.name}-{_one_host(chip)}"


def _one_host(chip: Chip) -> int:
    return chip.node_devices * chip.named_cores


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


def _accelerator(chip: Chip, name: str, number: int, num_slices: int = 1) -> HardwareSelector:
    """The selector of a chip that was called `name`, if there is such hardware."""
    if number % chip.named_cores:
        raise UnknownHardwareError(
            f"{chip.platform}-{name}-{number}: {chip.name} slices are named by their TensorCores, "
            f"{chip.named_cores} per chip, so the number must divide by {chip.named_cores}."
        )
    selector = HardwareSelector(chip.platform, chip.name, number, num_slices)
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
