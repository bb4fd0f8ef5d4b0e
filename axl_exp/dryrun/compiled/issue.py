"""When a scheduled program starts to communicate, and when it awaits the end.

A collective is issued as one instruction that waits; as a start and its `-done`; or, on a TPU, as a
chain of fusions of one `chain_id`: the first starts it, those between compute while it goes on, in
turns of a loop too, the last awaits it. Each of a chain holds a copy of the same collective.
Between slices it is a `send` and a `recv` of one rendezvous.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from axl_exp.dryrun.compiled.collectives import Communication, communication_of
from axl_exp.dryrun.compiled.execution import called_once
from axl_exp.dryrun.compiled.hlo import Computation, Instruction, Program

Phase = Literal["whole", "start", "during", "done"]
# How the first and the last fusion of a chain end.
_ENDS: dict[str, Phase] = {"AsyncCollectiveStart": "start", "AsyncCollectiveDone": "done"}


@dataclasses.dataclass(frozen=True)
class Issue:
    """What one instruction does about a communication."""

    phase: Phase
    key: str
    """The same for the start and the end of one communication."""
    communication: Communication
    source: Instruction
    """The collective, which may stand within a fusion."""


def issues_of(program: Program, where: Computation) -> dict[str, Issue]:
    """Return what each instruction of a computation issues, by its name; the others are left out.

    Raises:
        HloTextError: Groups of a collective are not understood.
    """
    issues: dict[str, Issue] = {}
    for instruction in where.instructions:
        name = instruction.name
        if instruction.opcode.endswith(("-done", "-update")):
            begun = issues.get(instruction.operands[0]) if instruction.operands else None
            if begun is not None:
                # What is sent is over where it is received.
                is_done = instruction.opcode.endswith("-done") and instruction.opcode != "send-done"
                phase: Phase = "done" if is_done else "during"
                issues[name] = dataclasses.replace(begun, phase=phase)
            continue
        found = _collective(program, where, instruction)
        if found is None:
            continue
        communication, source = found
        if communication.rendezvous:
            phase = "start" if instruction.opcode == "send" else "during"
            issues[name] = Issue(phase, communication.rendezvous, communication, source)
            continue
        chain = re.search(r'chain_id="([^"]*)"', source.attributes)
        if chain:
            key = f"{chain[1]} {source.attribute('channel_id')}"
            issues[name] = Issue(_phase_in_chain(program, instruction), key, communication, source)
        else:
            phase = "start" if instruction.opcode.endswith("-start") else "whole"
            issues[name] = Issue(phase, name, communication, source)
    return issues


def _phase_in_chain(program: Program, instruction: Instruction) -> Phase:
    for name in called_once(instruction):
        target = program.computation(name).root.attribute("custom_call_target")
        if target is not None:
            return _ENDS.get(target.strip('"'), "during")
    return "during"


def _collective(
    program: Program, where: Computation, instruction: Instruction
) -> tuple[Communication, Instruction] | None:
    """Return the communication of an instruction, or of the fusion that it is."""
    found = communication_of(where, instruction, num_partitions=program.num_partitions)
    if found is not None:
        return found, instruction
    if instruction.opcode not in ("fusion", "async-start"):
        return None
    for name in called_once(instruction):
        inner = program.computation(name)
        for each in inner.instructions:
            found = communication_of(inner, each, num_partitions=program.num_partitions)
            if found is not None:
                return found, each
    return None
