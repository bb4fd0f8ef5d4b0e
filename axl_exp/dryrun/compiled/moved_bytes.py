"""The bytes of the device's memory that an instruction reads and writes.

A fusion that takes a part of a large array reads that part; one that puts a part into an array
writes that part where it lies. So it is with the stacks of values that a scan keeps.
"""

from __future__ import annotations

from axl_exp.dryrun.compiled.hlo import Computation, Instruction, Program

_PUT = "dynamic-update-slice"
_TAKE = "dynamic-slice"
# The same bytes under another type or name.
_SAME = ("bitcast", "tuple")
# The memory on a TPU's chip is about so many times as fast as the main one ("How to Scale Your
# Model", chapter 2).
_ON_CHIP_SPEED = 22


def moved_bytes(program: Program, where: Computation, instruction: Instruction) -> float:
    """Return the bytes that one run of an instruction moves, of a fusion as a whole.

    As many of the main memory as would take its time: those that lie on the chip count less, what
    fills up tiles counts too.
    """
    if instruction.opcode == "fusion":
        (name,) = instruction.called["calls"]
        inside = program.computation(name)
        return _read_inside(inside) + _written(inside, inside.root)
    read = sum(
        _read_of(where.by_name[name], [(instruction, index)])
        for index, name in enumerate(instruction.operands)
        if name in where.by_name
    )
    return read + _written(where, instruction)


def _read_inside(inside: Computation) -> float:
    users: dict[str, list[tuple[Instruction, int]]] = {}
    for user in inside.instructions:
        for index, name in enumerate(user.operands):
            users.setdefault(name, []).append((user, index))
    total = 0.0
    for parameter in inside.instructions:
        if parameter.opcode == "parameter":
            uses = _through(users, parameter.name)
            total += _read_of(parameter, uses)
    return total


def _through(
    users: dict[str, list[tuple[Instruction, int]]], name: str
) -> list[tuple[Instruction, int]]:
    """Return what uses a value, under whatever name."""
    found = []
    for user, index in users.get(name, []):
        found += _through(users, user.name) if user.opcode == "bitcast" else [(user, index)]
    return found


def _read_of(value: Instruction, uses: list[tuple[Instruction, int]]) -> float:
    """Return the bytes of a value that its uses need."""
    total = 0.0
    for user, index in uses:
        if index == 0 and user.opcode == _TAKE:
            total += _bytes(user)
        elif not (index == 0 and user.opcode == _PUT):
            return _bytes(value)
    return min(total, _bytes(value))


def _written(where: Computation, value: Instruction) -> float:
    if value.opcode == _PUT:
        return _bytes(where.operand(value, 1))
    if value.opcode in _SAME:
        return sum(_written(where, where.by_name[name]) for name in value.operands)
    return 0.0 if value.opcode == "parameter" else _bytes(value)


def _bytes(value: Instruction) -> float:
    return sum(
        array.padded_bytes / (1 if array.memory_space == 0 else _ON_CHIP_SPEED)
        for array in value.arrays
    )
