"""What a dry run tells. Plain numbers that turn into JSON; every count is per device and step."""

from __future__ import annotations

import dataclasses
from typing import Any

Spec = tuple[tuple[str, ...], ...]
"""The mesh axes that split each dim of an array, outermost first; () leaves the dim whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParamLayout:
    """How one parameter lies on the mesh."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    logical_axes: tuple[str, ...]
    mesh_axes: Spec
    bytes_per_device: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes of one device at the fullest moment of a step."""

    params_bytes: int
    opt_state_bytes: int
    gradients_bytes: int
    """Alive at that moment: none are before the backward pass has made them."""
    activations_bytes: int
    """What the forward pass keeps for the backward pass."""
    working_bytes: int
    """The rest: what a layer computes with, gathered weights, logits."""
    fetched_ahead_bytes: int
    """State of the optimizer that comes from the host before its turn, where there is room."""
    on_chip_bytes: int
    """Of all that a step makes: what stays in memory on the chip, since it fits there."""
    total_bytes: int
    """All of the above, but what stays on the chip."""
    host_bytes: int
    """In the host's memory: what a rule offloads."""
    available_bytes: int | None
    """What a program may use of the device; None for a CPU."""
    host_available_bytes: int | None
    """What a device's part of the host's memory holds; None for a CPU."""

    @property
    def fits(self) -> bool:
        """Whether it is there, on the device and on the host."""
        on_device = self.available_bytes is None or self.total_bytes <= self.available_bytes
        return on_device and self.host_holds(self.host_bytes)

    def host_holds(self, num_bytes: int) -> bool:
        """Return whether the host has room for `num_bytes` of each device."""
        return self.host_available_bytes is None or num_bytes <= self.host_available_bytes

    @property
    def headroom_bytes(self) -> int | None:
        """What is left; negative where it does not fit."""
        return None if self.available_bytes is None else self.available_bytes - self.total_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
    """One kind of communication over some mesh axes, all of a step taken together."""

    kind: str
    """all-gather, reduce-scatter, all-reduce, all-to-all or collective-permute."""
    mesh_axes: tuple[str, ...]
    link: str
    """ici, dcn, nvlink, network or host."""
    count: int
    num_bytes: int
    """Of the larger of input and output: what all-gather makes and reduce-scatter takes."""
    seconds: float | None
    """At the peak of the link; None where nobody knows it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """How long a step takes at the least, by what it is that takes the time."""

    seconds: dict[str, float]
    """compute, hbm, each link in use, and host where something is offloaded."""
    bound_by: str
    step_seconds: float
    tokens_per_second_per_device: float
    mfu: float
    """By the model's causal operations, as a run's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """What is known without compiling."""

    num_devices: int
    mesh: str
    batch: tuple[int, int]
    """Rows and positions of a step."""
    batch_per_device: tuple[int, int]
    accumulation_steps: int
    params: tuple[ParamLayout, ...]
    memory: MemoryPlan
    largest: tuple[tuple[str, int], ...]
    """The largest buffers at the fullest moment, whose they are, and their bytes."""
    collectives: tuple[Collective, ...]
    model_flops: float
    """Of the model's mathematics, causal."""
    executed_flops: float
    """What the program does, what is computed again included."""
    hbm_bytes: int
    roofline: Roofline | None
    """None for hardware without an entry in the table (a CPU)."""


def to_json(facts: Any) -> dict[str, Any]:
    """Return the dataclass `facts` as plain JSON values."""
    return dataclasses.asdict(facts)
