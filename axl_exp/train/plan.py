"""What a run is going to be: counted from its config, without allocating anything."""

import dataclasses
import math
from typing import Any, Self

import jax

from axl_exp.model.attention_backend import Backend
from axl_exp.model.flops import FLOP_FORMULA, FlopsPerToken
from axl_exp.train.memory import StepMemory, compiled_bytes


@dataclasses.dataclass(frozen=True)
class Plan:
    """The facts of a run before it starts.

    Attributes:
        num_params: Parameters, each counted once.
        num_embedding_params: Those of the token embedding among them.
        tokens_per_step: Positions of a global batch.
        max_step: The last step.
        flops_per_token: By FLOP_FORMULA.
        mesh: Its axes in words.
        num_devices: How many devices share the run.
        batch: Rows and positions of a global batch.
        memory: Bytes per device.
        available_bytes: What each device can give; None where nobody knows.
        attention: What computes the core of attention, and why.
    """

    num_params: int
    num_embedding_params: int
    tokens_per_step: int
    max_step: int
    flops_per_token: FlopsPerToken
    flop_formula: str = dataclasses.field(default=FLOP_FORMULA, init=False)
    mesh: str
    num_devices: int
    batch: tuple[int, int]
    memory: StepMemory
    available_bytes: int | None
    attention: Backend

    def with_compiled(self, compiled: jax.stages.Compiled) -> Self:
        """Return the plan with the compiler's own count of memory."""
        memory = dataclasses.replace(self.memory, compiled_bytes=compiled_bytes(compiled))
        return dataclasses.replace(self, memory=memory)


def count_params(params: Any) -> int:
    """Return the number of elements in a tree of arrays or their abstract stand-ins."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
