"""Where a value of a compiled program ends up: in a product, or not."""

from __future__ import annotations

import re

from axl_exp.dryrun.compiled.hlo import Computation, Instruction, Program

_PRODUCTS = ("dot", "convolution")


def feeds_product(program: Program, where: Computation, instruction: Instruction) -> bool:
    """Return whether a product or kernel of the same computation reads what comes of a value.

    Values are followed through everything else, and from one turn of a loop to the next, where
    `where` is its body. So activations and their gradients do; gradients of weights do not: they
    are put away, or go to the optimizer.
    """
    seen: set[str] = set()
    ahead = [instruction]
    while ahead:
        value = ahead.pop()
        if value.name in seen:
            continue
        seen.add(value.name)
        users = [user for user in where.instructions if value.name in user.operands]
        if any(_is_product(program, user) for user in users):
            return True
        ahead += [user for user in users if not user.is_root]
        for user in users:
            if user.is_root and user.opcode == "tuple":
                ahead += _next_turn(where, user, value)
    return False


def _is_product(program: Program, instruction: Instruction) -> bool:
    if instruction.opcode in (*_PRODUCTS, "custom-call"):
        return True
    called = instruction.called.get("calls", ())
    return any(
        _is_product(program, inner)
        for name in called
        for inner in program.computation(name).instructions
    )


def _next_turn(where: Computation, root: Instruction, value: Instruction) -> list[Instruction]:
    """Return what a body reads at the places of its tuple where the turn before put a value."""
    places = {str(i) for i, name in enumerate(root.operands) if name == value.name}
    carried = {each.name for each in where.instructions if each.opcode == "parameter"}
    return [
        each
        for each in where.instructions
        if each.opcode == "get-tuple-element"
        and carried.issuperset(each.operands)
        and _index(each) in places
    ]


def _index(element: Instruction) -> str:
    found = re.search(r"index=(\d+)", element.attributes)
    return found[1] if found else ""
