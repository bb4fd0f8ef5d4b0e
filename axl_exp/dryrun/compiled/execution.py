"""What a program executes in one run, and how often."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from axl_exp.dryrun.compiled.hlo import Computation, Instruction, Program
from axl_exp.dryrun.compiled.trip_counts import trip_count


@dataclasses.dataclass(frozen=True)
class Execution:
    """An instruction and how often it runs."""

    computation: Computation
    instruction: Instruction
    times: int
    is_issued: bool
    """Whether the schedule issues it by itself: not if it is a part of a fusion."""


def executions(program: Program) -> Iterator[Execution]:
    """Yield every instruction that runs, those inside of fusions and asynchronous calls too.

    Of a conditional, every branch counts. Functions that a reduction applies to pairs of elements
    do not, nor do the conditions of loops.

    Raises:
        HloTextError: The turns of a loop are not known.
    """
    yield from _executions(program, program.entry, 1, is_issued=True)


def called_once(instruction: Instruction) -> tuple[str, ...]:
    """Return the computations that run once where the instruction runs: not those of loops."""
    roles = ("calls", "branch_computations", "true_computation", "false_computation")
    if instruction.opcode == "call":
        roles = ("to_apply",)
    if instruction.opcode.endswith(("-done", "-update")):
        return ()  # Their start has run it.
    return tuple(name for role in roles for name in instruction.called.get(role, ()))


def _executions(
    program: Program, where: Computation, times: int, *, is_issued: bool
) -> Iterator[Execution]:
    for instruction in where.instructions:
        yield Execution(where, instruction, times, is_issued)
        if instruction.opcode == "while":
            turns = trip_count(program, where, instruction)
            for name in instruction.called["body"]:
                body = program.computation(name)
                yield from _executions(program, body, times * turns, is_issued=is_issued)
        is_part = instruction.opcode in ("fusion", "async-start")
        for name in called_once(instruction):
            inner = program.computation(name)
            yield from _executions(program, inner, times, is_issued=is_issued and not is_part)
