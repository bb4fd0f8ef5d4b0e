"""The moment at which a program holds most, and what it holds then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from axl_exp.dryrun.fusion import Fusion, is_alone
from axl_exp.dryrun.layout import Move
from axl_exp.dryrun.partition import COLLECTIVES
from axl_exp.dryrun.program import Op, Program, Value

Alive = dict[tuple[Value, bool], "Buffer"]
"""By value, and whether it is a copy of it that communication made."""


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Memory that is alive at the fullest moment."""

    op: Op | None
    """What made it; None for what was there before."""
    value: Value
    num_bytes: int
    is_moved: bool
    """Whether it is a copy that communication made."""


def fullest_moment(
    program: Program,
    fusion: Fusion,
    *,
    moves_of: Mapping[Op, Sequence[Move]],
    inside: Mapping[Op, tuple[int, Sequence[Buffer]]],
    bytes_of: Callable[[Value], int],
    placed: set[Value],
) -> tuple[int, list[Buffer]]:
    """Return the most bytes that are alive at one operation, inputs left out, and what they are.

    Args:
        program: The operations.
        fusion: Which values have memory.
        moves_of: The communication of each operation.
        inside: What the body of an operation holds at its own fullest moment.
        bytes_of: The size of a value on a device.
        placed: Outputs that need no memory, having a place already.
    """
    last = fusion.last_reads(program)
    kept = {v for out in program.outputs for v in fusion.roots.get(out, ())}
    last_gather = _last_gathers(program, moves_of)
    placed = _written_in_place(placed, fusion, bytes_of)
    alive: Alive = {}
    dies_at: dict[int, list[tuple[Value, bool]]] = {}
    best: tuple[int, list[Buffer]] = (0, [])
    total = 0

    def birth(buffer: Buffer, until: int) -> int:
        alive[buffer.value, buffer.is_moved] = buffer
        dies_at.setdefault(until, []).append((buffer.value, buffer.is_moved))
        return buffer.num_bytes

    for i, op in enumerate(program.ops):
        # What a per-device program sends and receives are values of its own.
        for move in () if op.name in COLLECTIVES else moves_of[op]:
            if (move.value, True) not in alive and move.kind != "all-reduce":
                until = last_gather.get(move.value, i) if move.is_input else i
                total += birth(Buffer(op, move.value, move.num_bytes, True), until)
        over = _written_over(op, fusion, last, i, alive, bytes_of)
        for value in op.outputs:
            if value not in fusion.has_memory or value.on_host or value in placed:
                continue
            if value in over:
                total -= alive.pop((over[value], False)).num_bytes
            until = len(program.ops) if value in kept else last.get(value, i)
            total += birth(Buffer(op, value, bytes_of(value), False), until)
        inside_bytes, buffers = inside.get(op, (0, ()))
        if total + inside_bytes > best[0]:
            best = total + inside_bytes, [*alive.values(), *buffers]
        for key in dies_at.pop(i, ()):
            buffer = alive.pop(key, None)
            total -= buffer.num_bytes if buffer else 0
    return best


def _last_gathers(program: Program, moves_of: Mapping[Op, Sequence[Move]]) -> dict[Value, int]:
    """At which operation each gathered value is used for the last time."""
    return {
        move.value: i for i, op in enumerate(program.ops) for move in moves_of[op] if move.is_input
    }


def _written_in_place(
    placed: set[Value], fusion: Fusion, bytes_of: Callable[[Value], int]
) -> set[Value]:
    """Outputs that have a place, and what they only show in another way."""
    shown = {(root, value) for value in placed for root in fusion.roots.get(value, ())}
    return {root for root, value in shown if bytes_of(root) == bytes_of(value)}


def _written_over(
    op: Op,
    fusion: Fusion,
    last: Mapping[Value, int],
    i: int,
    alive: Alive,
    bytes_of: Callable[[Value], int],
) -> dict[Value, Value]:
    """Outputs -> whose memory each gets, where nobody else needs that any more.

    What a loop carries lies where it started; a chain of elementwise operations writes over what it
    reads of the same shape.
    """
    if op.name == "scan":
        num_consts, num_carry = op.params["num_consts"], op.params["num_carry"]
        starts = op.inputs[num_consts : num_consts + num_carry]
        pairs = list(zip(op.outputs[:num_carry], starts, strict=True))
    elif is_alone(op):
        return {}
    else:
        pairs = [
            (op.outputs[0], source)
            for source in fusion.read_by(op)
            if source.shape == op.outputs[0].shape and bytes_of(source) == bytes_of(op.outputs[0])
        ]
    over: dict[Value, Value] = {}
    for out, source in pairs:
        is_free = (source, False) in alive and last.get(source, i) <= i
        if is_free and source not in over.values():
            over[out] = source
    return over
