"""How often the body of a loop runs, read from what the loop compares and how it counts."""

from __future__ import annotations

import re

from axl_exp.dryrun.compiled.hlo import Computation, HloTextError, Instruction, Program

# These hand their first operand on.
_TRANSPARENT = ("copy", "bitcast", "convert", "reshape", "copy-done", "optimization-barrier")
_FLIPPED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE", "EQ": "EQ"}


def trip_count(program: Program, caller: Computation, loop: Instruction) -> int:
    """Return how often the `while` instruction `loop` of `caller` runs its body.

    The compiler's own count (`known_trip_count`) where it gives one; else of a loop that counts
    from a constant by a constant to a constant, as a scan does.

    Raises:
        HloTextError: The loop does not count like that, so that no figure about it holds.
    """
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if known:
        return int(known[1])
    body = program.computation(_only(loop, "body"))
    condition = program.computation(_only(loop, "condition"))
    reader = _Reader(program, caller, loop, body)
    compare, computation = _compare_of(program, condition)
    direction = re.search(r"direction=(\w+)", compare.attributes)
    left, right = (reader.source(computation, compare, i) for i in (0, 1))
    sense = direction[1] if direction else ""
    if isinstance(right, _Element) and not isinstance(left, _Element):
        left, right, sense = right, left, _FLIPPED.get(sense, "")
    if isinstance(left, _Element) and isinstance(right, int):
        count = _count(left.start, left.step, right, sense)
        if count is not None:
            return count
    raise HloTextError(
        f"compiled program: loop {loop.name} does not count from, by and to constants, so that "
        "its turns are not known"
    )


class _Element:
    """An element of a loop's tuple that counts."""

    def __init__(self, start: int, step: int):
        self.start, self.step = start, step


class _Reader:
    """Follows values of a loop's condition back to constants or to an element that counts."""

    def __init__(self, program: Program, caller: Computation, loop: Instruction, body: Computation):
        self._program, self._caller, self._loop, self._body = program, caller, loop, body

    def source(self, where: Computation, user: Instruction, index: int) -> int | _Element | None:
        """Return what operand `index` of `user` is: a constant, an element that counts, or None."""
        value = _resolve(where, where.operand(user, index))
        if value.opcode == "parameter" and where.name not in self._own_conditions:
            # Inside a fusion of the condition: go on with what the fusion is given.
            outer, call = self._fusion_of(where)
            return self.source(outer, call, int(value.arguments))
        if value.opcode == "constant":
            return _integer(value)
        if value.opcode != "get-tuple-element":
            return None
        position = _position(value)
        step = self._step(position)
        start = self._start(position)
        if start is None or step is None:
            return None
        return start if step == 0 else _Element(start, step)

    @property
    def _own_conditions(self) -> tuple[str, ...]:
        return self._loop.called["condition"]

    def _fusion_of(self, inner: Computation) -> tuple[Computation, Instruction]:
        outer = self._program.computation(self._own_conditions[0])
        for instruction in outer.instructions:
            if inner.name in instruction.called.get("calls", ()):
                return outer, instruction
        raise HloTextError(f"compiled program: {inner.name} has no caller in {outer.name}")

    def _step(self, position: int) -> int | None:
        """Return by how much a turn raises the element, 0 where it stays; None if not known."""
        new = _resolve(self._body, self._body.operand(self._body.root, position))
        if _is_element(new, position):
            return 0
        where = self._body
        arguments = [_resolve(where, where.operand(new, i)) for i in range(len(new.operands))]
        if new.opcode == "fusion":
            where = self._program.computation(_only(new, "calls"))
            new = where.root
            inner = [_resolve(where, where.operand(new, i)) for i in range(len(new.operands))]
            arguments = [
                arguments[int(each.arguments)] if each.opcode == "parameter" else each
                for each in inner
            ]
        if new.opcode not in ("add", "subtract") or len(arguments) != 2:
            return None
        sign = -1 if new.opcode == "subtract" else 1
        first, second = arguments
        if new.opcode == "add" and _is_element(second, position):
            first, second = second, first
        if not _is_element(first, position):
            return None
        if second.opcode == "get-tuple-element":  # A constant that the loop carries along.
            carried = _position(second)
            if not self._stays(carried):
                return None
            amount = self._start(carried)
        else:
            amount = _integer(second)
        return None if amount is None else sign * amount

    def _stays(self, position: int) -> bool:
        new = _resolve(self._body, self._body.operand(self._body.root, position))
        return _is_element(new, position)

    def _start(self, position: int) -> int | None:
        entering = _resolve(self._caller, self._caller.operand(self._loop, 0))
        if entering.opcode != "tuple":
            return None
        return _integer(_resolve(self._caller, self._caller.operand(entering, position)))


def _compare_of(program: Program, condition: Computation) -> tuple[Instruction, Computation]:
    root = _resolve(condition, condition.root)
    if root.opcode == "fusion":
        condition = program.computation(_only(root, "calls"))
        root = _resolve(condition, condition.root)
    if root.opcode != "compare":
        raise HloTextError(f"compiled program: a loop ends on {root.opcode} in {condition.name}")
    return root, condition


def _count(start: int, step: int, bound: int, sense: str) -> int | None:
    distance = bound - start
    if sense in ("LE", "GE"):
        distance += 1 if sense == "LE" else -1
    towards = {"LT": 1, "LE": 1, "GT": -1, "GE": -1}.get(sense)
    if sense == "NE":
        return distance // step if distance % step == 0 and distance * step >= 0 else None
    if towards is None or step * towards < 0:
        return None
    return max(0, -(-distance // step))


def _resolve(where: Computation, value: Instruction) -> Instruction:
    while value.opcode in _TRANSPARENT and value.operands:
        value = where.operand(value, 0)
    if value.opcode == "copy-start":
        return _resolve(where, where.operand(value, 0))
    return value


def _is_element(value: Instruction, position: int) -> bool:
    return value.opcode == "get-tuple-element" and _position(value) == position


def _position(value: Instruction) -> int:
    found = re.search(r"index=(\d+)", value.attributes)
    if not found:
        raise HloTextError(f"compiled program: {value.name} takes no element of a tuple")
    return int(found[1])


def _integer(value: Instruction) -> int | None:
    is_integer = value.opcode == "constant" and re.fullmatch(r"-?\d+", value.arguments)
    return int(value.arguments) if is_integer else None


def _only(instruction: Instruction, role: str) -> str:
    names = instruction.called.get(role, ())
    if len(names) != 1:
        raise HloTextError(f"compiled program: {instruction.name} has not one {role}")
    return names[0]
