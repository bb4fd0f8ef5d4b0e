"""The bytes of memory that an instruction of a GPU program reads and writes.

A fusion that takes a part of a large array reads that part; one that puts a part into an array
writes that part where it lies. So it is with the stacks of values that a scan keeps.
"""

from __future__ import annotations

from axl_exp.dryrun.compiled.hlo import Computation, Instruction, Program

_PUT = "dynamic-update-slice"
_TAKE = "dynamic-slice"
# The same bytes under another type or name.
_SAME = ("bitcast", "tuple")


def moved_bytes(program: Program, where: Computation, instruction: Instruction) -> int:
    """Return the bytes that one run of an instruction moves, of a fusion as a whole."""
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


def _read_inside(inside: Computation) -> int:
    users: dict[str, list[tuple[Instruction, int]]] = {}
    for user in inside.instructions:
        for index, name in enumerate(user.operands):
            users.setdefault(name, []).append((user, index))
    total = 0
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


def _read_of(value: Instruction, uses: list[tuple[Instruction, int]]) -> int:
    """Return the bytes of a value that its uses need."""
    total = 0
    for user, index in uses:
        if index == 0 and user.opcode == _TAKE:
            total += user.num_bytes
        elif not (index == 0 and user.opcode == _PUT):
            return value.num_bytes
    return min(total, value.num_bytes)


def _written(where: Computation, value: Instruction) -> int:
    if value.opcode == _PUT:
        return where.operand(value, 1).num_bytes
    if value.opcode in _SAME:
        return sum(_written(where, where.by_name[name]) for name in value.operands)
    return 0 if value.opcode == "parameter" else value.num_bytes
