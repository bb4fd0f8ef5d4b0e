"""Whose an operation of a compiled program is, in the words of our layers.

JAX writes where an operation comes from as `jit(step)/transpose(jvp())/while/body/closed_call/
checkpoint/dot_general`, and arguments as `state.params['decoder']['lm_head']['weight']`; which
layer called is in the stack frames.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from axl_exp.dryrun.compiled.frames import layers_by_frame, layers_of
from axl_exp.dryrun.compiled.hlo import Instruction

_ARGUMENT = re.compile(r"(\w+)((?:\.\w+|\[[^\]]*\])+)")
_KEY = re.compile(r"\[(?:\\?'([^'\\]*)\\?'|(\d+))\]|\.(\w+)")


@dataclasses.dataclass(frozen=True)
class Owners:
    """Names the owner of each instruction of one program."""

    layers: Mapping[int, str]
    """By stack frame."""

    @classmethod
    def of_text(cls, text: str) -> Owners:
        """Return the owners of the program that `text` writes."""
        return cls(layers_by_frame(text))

    def owner(self, instruction: Instruction) -> str:
        """Return `TransformerFeedForwardLayer/Linear, backward`; `params/decoder/...`; or `update`.

        An argument of the step goes by its path. What is neither within a layer nor differentiated
        is the `update` of the parameters; '' where the program does not say.
        """
        op_name = instruction.op_name
        if not op_name:
            return ""
        if "/" not in op_name:
            return _argument(op_name)
        if "jvp(" not in op_name:
            return "update"
        layers = layers_of(instruction, self.layers) or "loss"
        if "rematted_computation" in op_name:
            return f"{layers}, computed again"
        return f"{layers}, {'backward' if 'transpose(' in op_name else 'forward'}"


def _argument(op_name: str) -> str:
    found = _ARGUMENT.fullmatch(op_name)
    if not found:
        return op_name
    return "/".join(next(k for k in each if k) for each in _KEY.findall(found[2]))
