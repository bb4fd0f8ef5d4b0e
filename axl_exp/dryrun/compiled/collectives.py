"""What a collective instruction of a compiled program moves, and between whom."""

from __future__ import annotations

import dataclasses
import re

from axl_exp.dryrun.compiled.groups import Groups, groups_of
from axl_exp.dryrun.compiled.hlo import Array, Computation, HloTextError, Instruction

_KINDS = (
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_TRANSFER = re.compile(r'_xla_(?:megascale|host_transfer)_(\w+)="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Communication:
    """One collective instruction."""

    kind: str
    groups: Groups
    num_bytes: int
    """Of the larger of input and output on a device, elements alone."""
    num_slices: int = 1
    """Above 1 where it is between slices, each device with those at its place in the others; of
    `groups` there are none then."""
    rendezvous: str = ""
    """Joins the two halves of a transfer between slices: what is sent, and what is received."""


def communication_of(
    where: Computation, instruction: Instruction, *, num_partitions: int
) -> Communication | None:
    """Return what a collective or the start of one moves; None for everything else.

    An all-reduce of which only a slice is used is a reduce-scatter: TPUs write theirs so. The
    second half of an asynchronous pair (`-done`) is None: its start has moved everything.

    Raises:
        HloTextError: Its groups are not understood.
    """
    opcode = instruction.opcode
    if opcode in ("send", "recv"):
        return _between_slices(instruction)
    kind = opcode.removesuffix("-start")
    if kind not in _KINDS:
        return None
    groups = groups_of(instruction, num_partitions=num_partitions)
    if max(len(group) for group in groups) < 2:
        return None
    operands = [where.by_name[n] for n in instruction.operands if n in where.by_name]
    incoming = sum(operand.num_bytes for operand in operands)
    if opcode.endswith("-start") and kind != "all-reduce":
        outgoing = _outgoing_bytes(instruction, incoming)
    else:
        outgoing = instruction.num_bytes
    if kind == "all-reduce" and _is_sliced(where, instruction):
        kind = "reduce-scatter"
    return Communication(kind, groups, max(incoming, outgoing))


def _between_slices(instruction: Instruction) -> Communication | None:
    """Return a transfer that libtpu gives to its runtime for several slices (megascale)."""
    fields = dict(
        re.findall(r'_xla_(?:megascale|host_transfer)_(\w+)="([^"]*)"', instruction.attributes)
    )
    if "transfer_type" not in fields:
        return None
    kind = fields["transfer_type"].lower().replace("_", "-")
    slices = re.match(r"\{([^}]*)\}", fields.get("target", ""))
    if kind not in _KINDS or not slices or not fields.get("rendezvous"):
        raise HloTextError(f"compiled program: {instruction.name} is an unknown transfer: {fields}")
    num_slices = sum(_count(part) for part in slices[1].split(","))
    num_bytes = max(array.num_bytes for array in instruction.arrays)
    if kind == "all-gather" and instruction.opcode == "send":
        num_bytes *= num_slices
    return Communication(kind, (), num_bytes, num_slices, fields["rendezvous"])


def _count(part: str) -> int:
    """Return how many numbers `3` or `0:3` are."""
    first, _, last = part.partition(":")
    if not first.isdigit() or (last and not last.isdigit()):
        raise HloTextError(f"compiled program: unknown numbers of slices: {part[:40]}")
    return int(last) - int(first) + 1 if last else 1


def _outgoing_bytes(instruction: Instruction, incoming: int) -> int:
    """Return the bytes of the results in the tuple of a start: inputs, results, semaphores."""
    data = [array for array in instruction.arrays if not _is_semaphore(array)]
    total = sum(array.num_bytes for array in data)
    return total - incoming if total > incoming else total


def _is_semaphore(array: Array) -> bool:
    return array.dims == () and array.dtype in ("u32", "s32")


def _is_sliced(where: Computation, instruction: Instruction) -> bool:
    """Return whether nothing but a slice of each result is used: one, or those of a tuple."""
    users = _users(where, instruction)
    if all(user.opcode == "get-tuple-element" for user in users):
        users = [user for element in users for user in _users(where, element)]
    slices = [user.name for user in users if user.opcode == "dynamic-slice"]
    root = where.root
    returned = root.operands if root.opcode == "tuple" else (root.name,)
    return len(slices) == len(users) > 0 and sorted(slices) == sorted(returned)


def _users(where: Computation, instruction: Instruction) -> list[Instruction]:
    return [user for user in where.instructions if instruction.name in user.operands]
