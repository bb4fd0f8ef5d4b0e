"""The compiler's account of memory: what it needs, its verdict, and who fills the device."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from axl_exp.dryrun.compiled.facts import Buffer, CompiledMemory
from axl_exp.dryrun.compiled.hlo import Program
from axl_exp.dryrun.compiled.owners import Owners

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)\s*([KMGT]?)i?B?"
_NEEDED_OF = (
    # libtpu, before it assigns addresses.
    re.compile(rf"required for HLO temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)"),
    # libtpu, where it could not place something.
    re.compile(rf"in memory space hbm\. Used {_SIZE} of {_SIZE} hbm"),
)
_ALLOCATION = re.compile(r"^allocation \d+: size (\d+), ?(.*?):?$")
# A color is another memory: on the chip, or the host's.
_ELSEWHERE = re.compile(r"\bcolor [1-9]|thread-local")
_VALUE = re.compile(r"^ value: <\d+ (\S+?)(?:\{[^}]*\})? @\d+> \(size=(\d+),offset=(\d+)\): (.*)$")
_NUM_LARGEST = 12


@dataclasses.dataclass(frozen=True)
class MemoryAnalysis:
    """What `jax.stages.Compiled.memory_analysis()` says, by its names."""

    argument_size_in_bytes: int
    output_size_in_bytes: int
    alias_size_in_bytes: int
    temp_size_in_bytes: int
    generated_code_size_in_bytes: int
    host_argument_size_in_bytes: int
    host_output_size_in_bytes: int
    host_temp_size_in_bytes: int
    host_alias_size_in_bytes: int

    @classmethod
    def of(cls, analysis: Any) -> MemoryAnalysis:
        """Return the plain numbers of JAX's object."""
        names = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: getattr(analysis, name) for name in names})


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A stretch of an allocation, and the value that fills it."""

    num_bytes: int
    offset: int
    instruction: str
    shape: str


def memory_of(
    analysis: MemoryAnalysis, *, assignment: str, available_bytes: int | None
) -> CompiledMemory:
    """Return the account of a program that compiled.

    Temporaries are those of the buffer assignment, which is what the compiler holds against the
    memory that there is. libtpu's `temp_size_in_bytes` counts part of a program with loops again:
    16.70 GiB (0.0.42.1) for a step with 12.62 GiB of them, on a chip of 15.75 GiB.

    Args:
        analysis: What the program says itself.
        assignment: The compiler's dump of its buffer assignment; "" leaves the analysis alone.
        available_bytes: What a program may use.
    """
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    temp_bytes = _temp_bytes(assignment) if assignment else analysis.temp_size_in_bytes
    host = (
        analysis.host_argument_size_in_bytes
        + analysis.host_output_size_in_bytes
        + analysis.host_temp_size_in_bytes
        - analysis.host_alias_size_in_bytes
    )
    return CompiledMemory(
        argument_bytes=analysis.argument_size_in_bytes,
        output_bytes=analysis.output_size_in_bytes,
        alias_bytes=analysis.alias_size_in_bytes,
        temp_bytes=temp_bytes,
        code_bytes=analysis.generated_code_size_in_bytes,
        host_bytes=host,
        needed_bytes=held + temp_bytes - analysis.alias_size_in_bytes,
        available_bytes=available_bytes,
    )


def verdict_of(message: str) -> CompiledMemory | None:
    """Return the account in a compiler's refusal; None where it refuses for another reason.

    What is needed and what is available are the compiler's numbers; the rest it does not tell, so
    that it is 0.
    """
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    for pattern in _NEEDED_OF:
        found = pattern.search(message)
        if found:
            needed, available = _bytes(found[1], found[2]), _bytes(found[3], found[4])
            return CompiledMemory(
                argument_bytes=0,
                output_bytes=0,
                alias_bytes=0,
                temp_bytes=0,
                code_bytes=0,
                host_bytes=0,
                needed_bytes=needed,
                available_bytes=available,
                verdict=found.string.splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: "),
            )
    return None


def largest_buffers(
    assignment: str, *, program: Program | None, owners: Owners
) -> tuple[Buffer, ...]:
    """Return the largest stretches of device memory and whose they are.

    Values share addresses when they live at different times; each stretch goes by the largest value
    that is ever there.

    Args:
        assignment: The compiler's dump of its buffer assignment; "" gives nothing.
        program: Tells where its values come from.
        owners: Of the instructions of the program.
    """
    instructions = (
        {}
        if program is None
        else {i.name: i for c in program.computations.values() for i in c.instructions}
    )
    buffers = []
    for slots in _allocations(assignment):
        for slot in _disjoint(slots):
            instruction = instructions.get(slot.instruction)
            owner = owners.owner(instruction) if instruction else ""
            shape = re.sub(r"\{[^{}]*\}", "", slot.shape)
            buffers.append(Buffer(num_bytes=slot.num_bytes, shape=shape, owner=owner))
    buffers.sort(key=lambda buffer: -buffer.num_bytes)
    return tuple(buffers[:_NUM_LARGEST])


def _temp_bytes(assignment: str) -> int:
    """Return what the compiler sets aside in the device's main memory for what a step makes."""
    found = (_ALLOCATION.match(line) for line in assignment.splitlines())
    return sum(
        int(each[1])
        for each in found
        if each and "preallocated-temp" in each[2] and not _ELSEWHERE.search(each[2])
    )


def _allocations(assignment: str) -> Iterator[list[_Slot]]:
    """Yield the values of each allocation in the device's main memory."""
    slots: list[_Slot] | None = None
    for line in assignment.splitlines():
        if found := _ALLOCATION.match(line):
            if slots:
                yield slots
            slots = None if _ELSEWHERE.search(found[2]) else []
        elif slots is not None and (value := _VALUE.match(line)):
            slots.append(_Slot(int(value[2]), int(value[3]), value[1], value[4]))
    if slots:
        yield slots


def _disjoint(slots: list[_Slot]) -> list[_Slot]:
    """Return the largest values that share no address, largest first; tables of tuples left out."""
    taken: list[_Slot] = []
    for slot in sorted(slots, key=lambda each: (-each.num_bytes, each.offset)):
        if slot.shape.startswith("("):
            continue
        end = slot.offset + slot.num_bytes
        if all(end <= t.offset or t.offset + t.num_bytes <= slot.offset for t in taken):
            taken.append(slot)
        if len(taken) >= _NUM_LARGEST:
            break
    return taken


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])
