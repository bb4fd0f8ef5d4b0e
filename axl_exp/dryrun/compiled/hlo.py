"""Compiled programs as text, read: XLA's HLO in its long form, computations and instructions.

What is not understood is an error, never a guess: figures are made from it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

from axl_exp.errors import UserError

# Bits of one element. Tokens and opaque values hold no data.
_BITS = {
    "pred": 8, "s4": 4, "u4": 4, "s2": 2, "u2": 2, "s8": 8, "u8": 8, "s16": 16, "u16": 16,
    "s32": 32, "u32": 32, "s64": 64, "u64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64,
    "c64": 64, "c128": 128, "token": 0, "opaque": 0, "f8e5m2": 8, "f8e4m3": 8, "f8e4m3fn": 8,
    "f8e4m3b11fnuz": 8, "f8e5m2fnuz": 8, "f8e4m3fnuz": 8, "f8e3m4": 8, "f8e8m0fnu": 8,
    "f4e2m1fn": 4,
}  # fmt: skip

_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<= ]*)\](?:\{([^{}]*)\})?")
_HEADER = re.compile(r"^(ENTRY )?%?([^\s()]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?(\S+) = (.*)$")
_OPCODE = re.compile(r"([a-z][\w-]*)\(")
_OPERAND = re.compile(r"%([^\s,(){}]+)")
_CALLED = re.compile(
    r"\b(calls|to_apply|body|condition|branch_computations|true_computation|false_computation"
    r"|called_computations)=(\{[^}]*\}|%?[^\s,]+)"
)
_COMMENT = re.compile(r"/\*.*?\*/")


class HloTextError(UserError):
    """The text of a compiled program has a form that this reader does not know."""


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of one array."""

    dtype: str
    dims: tuple[int, ...]
    layout: str = ""
    """What stands in the braces: order of dims, tiles, memory space `S(n)`."""

    @property
    def num_elements(self) -> int:
        return math.prod(self.dims)

    @property
    def num_bits(self) -> int:
        """Of one element."""
        return _BITS[self.dtype]

    @property
    def num_bytes(self) -> int:
        """Bytes of the elements, without what a tiled layout pads."""
        return -(-self.num_elements * _BITS[self.dtype] // 8)

    @property
    def padded_bytes(self) -> int:
        """Bytes in memory: the two minor dims are filled up to the first tile `T(rows,columns)`."""
        tile = re.search(r"T\(([\d,]+)\)", self.layout)
        order = re.match(r"[\d,]*", self.layout)
        if tile is None or order is None or not order[0]:
            return self.num_bytes
        sizes = [self.dims[int(d)] for d in order[0].split(",") if d]
        tiles = [int(size) for size in tile[1].split(",")][::-1]
        for i, size in enumerate(tiles[: len(sizes)]):
            sizes[i] = -(-sizes[i] // size) * size
        return -(-math.prod(sizes) * _BITS[self.dtype] // 8)

    @property
    def memory_space(self) -> int:
        """0 is the device's main memory; on a TPU 1 is on the chip and 5 is the host's."""
        space = re.search(r"S\((\d+)\)", self.layout)
        return int(space[1]) if space else 0


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    attributes: str
    """All that follows the operands, as it stands."""
    arguments: str
    """What stands between the parentheses: of a constant its value."""
    is_root: bool

    @functools.cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays that it makes; several where it makes a tuple."""
        return parse_arrays(self.shape)

    @property
    def num_bytes(self) -> int:
        return sum(array.num_bytes for array in self.arrays)

    @property
    def op_name(self) -> str:
        """Where the program's author wrote it: `jit(step)/jvp()/while/body/dot_general`; or ''."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    @property
    def estimated_cycles(self) -> int | None:
        """The TPU compiler's own estimate; None where it gives none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
        return int(found[1]) if found else None

    @functools.cached_property
    def called(self) -> Mapping[str, tuple[str, ...]]:
        """The computations that it calls, by role: `{"body": (...), "condition": (...)}`."""
        roles: dict[str, tuple[str, ...]] = {}
        for role, names in _CALLED.findall(self.attributes.partition(", metadata=")[0]):
            roles[role] = tuple(n.strip().lstrip("%") for n in names.strip("{}").split(",") if n)
        return roles

    def attribute(self, name: str) -> str | None:
        """Return the text of an attribute, brackets balanced; None where it is not there."""
        found = re.search(rf"(?:^|[ ,]){name}=", self.attributes)
        return None if found is None else _balanced(self.attributes, found.end())


@dataclasses.dataclass(frozen=True)
class Computation:
    """A function of the program. Its instructions stand in the order of their execution."""

    name: str
    instructions: tuple[Instruction, ...]

    @functools.cached_property
    def by_name(self) -> Mapping[str, Instruction]:
        return {i.name: i for i in self.instructions}

    @property
    def root(self) -> Instruction:
        return next(i for i in self.instructions if i.is_root)

    def operand(self, instruction: Instruction, index: int) -> Instruction:
        """Return the instruction that makes an operand.

        Raises:
            HloTextError: There is none.
        """
        try:
            return self.by_name[instruction.operands[index]]
        except (IndexError, KeyError):
            raise HloTextError(
                f"compiled program: {instruction.name} in {self.name} has no operand {index}"
            ) from None


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program of one device."""

    name: str
    computations: Mapping[str, Computation]
    entry: Computation
    num_partitions: int
    is_scheduled: bool

    def computation(self, name: str) -> Computation:
        """Return the computation of that name.

        Raises:
            HloTextError: There is none.
        """
        if name not in self.computations:
            raise HloTextError(f"compiled program: no computation is called {name!r}")
        return self.computations[name]


def parse_program(text: str) -> Program:
    """Return the program that `text`, `jax.stages.Compiled.as_text()`, describes.

    Raises:
        HloTextError: The text is no whole HLO module, or has a line of unknown form.
    """
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    if not head.startswith("HloModule "):
        raise HloTextError("compiled program: the text does not begin with HloModule")
    computations: dict[str, Computation] = {}
    entry: Computation | None = None
    for is_entry, computation in _computations(_whole_lines(lines)):
        if computation.name in computations:
            raise HloTextError(f"compiled program: two computations {computation.name!r}")
        computations[computation.name] = computation
        entry = computation if is_entry else entry
    if entry is None:
        raise HloTextError("compiled program: no ENTRY computation; is the text cut off?")
    partitions = re.search(r"num_partitions=(\d+)", head)
    return Program(
        name=head.split()[1].rstrip(","),
        computations=computations,
        entry=entry,
        num_partitions=int(partitions[1]) if partitions else 1,
        is_scheduled="is_scheduled=true" in head,
    )


def parse_arrays(shape: str) -> tuple[Array, ...]:
    """Return the arrays of a type, tuples flattened: `(f32[2]{0}, (s32[], token[]))`.

    Raises:
        HloTextError: An element type or a size is not known; sizes that vary are not.
    """
    arrays = []
    for dtype, dims, layout in _ARRAY.findall(shape):
        if dtype not in _BITS or not re.fullmatch(r"(\d+(,\d+)*)?", dims):
            raise HloTextError(f"compiled program: unknown array type {dtype}[{dims}]")
        arrays.append(Array(dtype, tuple(int(d) for d in dims.split(",") if d), layout))
    return tuple(arrays)


def _whole_lines(lines: list[str]) -> Iterator[str]:
    """Yield lines, each with those that carry it on: attributes of kernels have line breaks."""
    whole = ""
    for line in lines:
        if (
            whole.startswith((" ", "\t"))
            and line[:1] not in ("", " ", "\t")
            and line.rstrip() != "}"
        ):
            whole += line
            continue
        yield whole
        whole = line
    yield whole


def _computations(lines: Iterator[str]) -> Iterator[tuple[bool, Computation]]:
    name, is_entry, instructions = "", False, []
    for number, line in enumerate(lines, start=1):
        header = None if name else _HEADER.match(line)
        if header:
            is_entry, name, instructions = bool(header[1]), header[2], []
        elif name and re.fullmatch(r"\}\s*", line):
            if sum(i.is_root for i in instructions) != 1:
                raise HloTextError(f"compiled program: computation {name!r} has not one ROOT")
            yield is_entry, Computation(name, tuple(instructions))
            name = ""
        elif name and line.strip():
            instructions.append(_parse_instruction(line, number))
    if name:
        raise HloTextError(f"compiled program: computation {name!r} has no end; is it cut off?")


def _parse_instruction(line: str, number: int) -> Instruction:
    found = _INSTRUCTION.match(line)
    if not found:
        raise HloTextError(f"compiled program, line {number}: no instruction: {line.strip()[:80]}")
    is_root, name, rest = bool(found[1]), found[2], found[3]
    shape = _balanced(rest, 0) if rest.startswith("(") else rest.partition(" ")[0]
    opcode = _OPCODE.match(rest, len(shape) + 1)
    if not opcode:
        raise HloTextError(f"compiled program, line {number}: no operation: {rest[:80]}")
    arguments = _balanced(rest, opcode.end() - 1)[1:-1]
    return Instruction(
        name=name,
        opcode=opcode[1],
        shape=_COMMENT.sub("", shape),
        operands=tuple(_OPERAND.findall(_COMMENT.sub("", arguments))),
        attributes=rest[opcode.end() + len(arguments) + 1 :].lstrip(", "),
        arguments=arguments,
        is_root=is_root,
    )


_MATCHING = {"(": ")", "{": "}", "[": "]"}
_STOP = re.compile(r'[(){}\[\]",]| (?=\w+=)')


def _balanced(text: str, start: int) -> str:
    """Return the stretch from `start` to the comma or bracket that ends it, brackets balanced."""
    open_brackets: list[str] = []
    position = start
    while found := _STOP.search(text, position):
        mark, position = found[0], found.end()
        if mark == '"':
            position = _end_of_string(text, position)
        elif mark in _MATCHING:
            open_brackets.append(_MATCHING[mark])
        elif mark in ")}]":
            if not open_brackets:
                return text[start : found.start()]
            if open_brackets.pop() != mark:
                raise HloTextError(f"compiled program: brackets do not match: {text[start:][:80]}")
            if not open_brackets and text[start] in _MATCHING and text[start] == "(":
                return text[start:position]
        elif not open_brackets:
            return text[start : found.start()]
    if open_brackets:
        raise HloTextError(f"compiled program: a bracket stays open: {text[start:][:80]}")
    return text[start:]


def _end_of_string(text: str, position: int) -> int:
    found = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL).match(text, position)
    if not found:
        raise HloTextError("compiled program: a quoted text has no end")
    return found.end()
