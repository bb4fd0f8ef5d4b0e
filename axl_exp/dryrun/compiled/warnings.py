"""What in a compiled program costs memory or time that nobody asked for."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Sequence

from axl_exp.dryrun.compiled.hlo import Program
from axl_exp.dryrun.compiled.owners import Owners
from axl_exp.dryrun.compiled.traffic import Traffic
from axl_exp.dryrun.compiled.uses import feeds_product
from axl_exp.report.text import format_bytes

# What is smaller is not worth a line: a norm's scale, a scalar per row.
_LEAST_BYTES = 2**20
# Of what is stored.
_LEAST_PADDING = 0.05


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the config asks for, to tell the rest from."""

    param_sizes: Collection[int]
    """Elements of every parameter: whole, and of one of the layers that it is stacked of."""
    sharded_sizes: Collection[int]
    """The same of those that a mesh axis splits."""
    replicated: Sequence[tuple[str, int]]
    """Parameters that are whole on every device though a mesh axis splits others: path, bytes."""


def find_warnings(
    program: Program,
    traffic: Iterable[Traffic],
    *,
    owners: Owners,
    expected: Expected,
) -> list[str]:
    """Return a line for each, the most bytes first within its kind.

    Sharded parameters are gathered, in one piece or around a ring, and their gradients scattered;
    anything else that moves a megabyte or more is told, sums of partial results aside.
    """
    return [
        *_replicated(expected),
        *_moved(program, traffic, owners, expected),
        *_padded(program, owners),
    ]


def _replicated(expected: Expected) -> list[str]:
    return [
        f"{path} ({format_bytes(num_bytes)}) is whole on every device: no mesh axis splits it"
        for path, num_bytes in expected.replicated
        if num_bytes >= _LEAST_BYTES
    ]


def _moved(
    program: Program, traffic: Iterable[Traffic], owners: Owners, expected: Expected
) -> list[str]:
    totals: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for each in traffic:
        found = each.communication
        if found.num_bytes < _LEAST_BYTES:
            continue
        arrays = [a for a in each.source.arrays if a.dims]
        largest = max(arrays, key=lambda a: a.num_bytes)
        ring = len(found.groups) if found.kind == "collective-permute" else 1
        if not _is_odd(found.kind, largest.num_elements, ring, expected):
            continue
        start = each.issued
        if found.kind == "all-reduce" and feeds_product(
            program, start.computation, start.instruction
        ):
            continue  # An activation of the size of a parameter: a gradient is not multiplied.
        shape = f"{largest.dtype}[{','.join(map(str, largest.dims))}]"
        owner = owners.owner(each.source) or "an unnamed operation"
        totals[found.kind, shape, owner] += each.times * found.num_bytes
    words = {
        "all-gather": "is gathered whole on every device",
        "all-reduce": "is summed whole on every device where each needs its shard alone",
        "all-to-all": "is laid out anew",
    }
    return [
        f"{shape} of {owner} {words.get(kind, 'is passed between devices')} "
        f"({kind}, {format_bytes(num_bytes)} a step)"
        for (kind, shape, owner), num_bytes in totals.most_common()
    ]


def _is_odd(kind: str, num_elements: int, ring: int, expected: Expected) -> bool:
    """Whether sharded parameters do not need this."""
    if kind in ("all-reduce", "reduce-scatter"):
        return kind == "all-reduce" and num_elements in expected.sharded_sizes
    if num_elements * ring in expected.param_sizes:
        return False
    return kind == "all-gather" or not _is_part(num_elements, ring, expected)


def _is_part(num_elements: int, ring: int, expected: Expected) -> bool:
    """Whether a parameter goes around a ring in parts, some of them at a time."""
    return any(
        size % num_elements == 0 and ring % (size // num_elements) == 0
        for size in expected.param_sizes
    )


def _padded(program: Program, owners: Owners) -> list[str]:
    stored = waste = 0
    worst = (0, "")
    for instruction in program.entry.instructions:
        if instruction.opcode != "parameter":
            continue
        for array in instruction.arrays:
            extra = array.padded_bytes - array.num_bytes
            stored, waste = stored + array.num_bytes, waste + extra
            shape = f"{array.dtype}[{','.join(map(str, array.dims))}]"
            worst = max(worst, (extra, f"{owners.owner(instruction)} {shape}"))
    if waste < _LEAST_BYTES or waste < _LEAST_PADDING * stored:
        return []
    return [
        f"{format_bytes(waste)} of state and batch are padding, {waste / stored:.0%} of "
        f"{format_bytes(stored)}: dims that do not fill a tile, most in {worst[1]}"
    ]
