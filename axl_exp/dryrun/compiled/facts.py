"""What a compiled program tells: plain values that turn into JSON, per device and step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledMemory:
    """The compiler's own account of a device's memory."""

    argument_bytes: int
    """State and batch as they come in."""
    output_bytes: int
    alias_bytes: int
    """The part of the output that is written over arguments."""
    temp_bytes: int
    """What lives within the step."""
    code_bytes: int
    host_bytes: int
    """In the host's memory: what is offloaded."""
    needed_bytes: int
    """Arguments, outputs and temporaries, what is written over counted once; of a program that does
    not fit, what the compiler says that it needs."""
    available_bytes: int | None
    """What a program may use; None where the compiler has no such limit."""
    verdict: str = ""
    """The compiler's words where the program does not fit."""

    @property
    def fits(self) -> bool:
        return not self.verdict and (
            self.available_bytes is None or self.needed_bytes <= self.available_bytes
        )

    @property
    def headroom_bytes(self) -> int | None:
        """What is left; negative where it does not fit."""
        return None if self.available_bytes is None else self.available_bytes - self.needed_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Buffer:
    """A stretch of the device's memory, and who fills it most."""

    num_bytes: int
    shape: str
    owner: str
    """The layer or the state that it belongs to: `transformer/layer backward: linear1_0`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledCollective:
    """All communication of one kind over the same axes for the same part of the program."""

    kind: str
    """all-gather, reduce-scatter, all-reduce, all-to-all or collective-permute."""
    mesh_axes: tuple[str, ...]
    link: str
    """ici, dcn, nvlink or network."""
    owner: str
    count: int
    """How often in a step, turns of loops counted; a start and its done are one."""
    num_bytes: int
    """Of the larger of input and output, over all of them."""
    seconds: float
    """On its links, whether or not something is computed meanwhile."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepPrediction:
    """How long a step takes, from the order in which the program starts and awaits things."""

    compute_seconds: float
    communication_seconds: float
    """On links, hidden or not."""
    exposed_seconds: Mapping[str, float]
    """What computing waits for: link (or `host`) to seconds."""
    step_seconds: float
    tokens_per_second_per_device: float
    mfu: float
    """Of the model's causal operations, as a run's own."""
    how: str
    """The source of the compute times: cycles of the compiler, or operations and bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledFacts:
    """What the compiler of the hardware makes of the trainer's step."""

    compiler: str
    """`libtpu 0.0.42, jax 0.10.2`."""
    topology: str
    num_devices: int
    memory: CompiledMemory
    largest: tuple[Buffer, ...]
    """The largest buffers, largest first."""
    collectives: tuple[CompiledCollective, ...]
    """Those that take longest first."""
    model_flops: float
    """Of the model's mathematics, causal, per device and step."""
    executed_flops: float
    """Of the matrix products and kernels that the program executes."""
    kernel_flops: float
    """The part of them in kernels whose work is counted by formula, not read from the program."""
    offload_bytes: int
    """Copied between device and host in a step, both ways."""
    prediction: StepPrediction | None
    """None where the program does not fit."""
    warnings: tuple[str, ...]
    compile_seconds: float

    @property
    def fits(self) -> bool:
        """The compiler's verdict."""
        return self.memory.fits

    @property
    def rematerialised_share(self) -> float:
        """Operations that the model's mathematics does not ask for, of all that are executed."""
        return 1 - min(1.0, self.model_flops / self.executed_flops) if self.executed_flops else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain JSON values."""
        return dataclasses.asdict(self)


def from_json(values: Mapping[str, Any]) -> CompiledFacts:
    """Return what `to_json` was given.

    Raises:
        KeyError, TypeError: The values are of another form.
    """
    prediction = values["prediction"]
    collectives = [
        CompiledCollective(**{**each, "mesh_axes": tuple(each["mesh_axes"])})
        for each in values["collectives"]
    ]
    return CompiledFacts(
        **{
            **values,
            "memory": CompiledMemory(**values["memory"]),
            "largest": tuple(Buffer(**each) for each in values["largest"]),
            "collectives": tuple(collectives),
            "prediction": None if prediction is None else StepPrediction(**prediction),
            "warnings": tuple(values["warnings"]),
        }
    )
