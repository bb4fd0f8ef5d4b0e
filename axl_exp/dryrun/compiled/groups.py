"""Who talks to whom in a collective: groups of partitions, in every way that HLO writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from axl_exp.dryrun.compiled.hlo import HloTextError, Instruction

Groups = tuple[tuple[int, ...], ...]
"""Partition numbers, one tuple for each group that communicates within itself."""

_LISTS = re.compile(r"\{(\{[\d,]*\}(,\{[\d,]*\})*)?\}")
_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
# The ids may be an iota with parentheses of its own: `([2,2,4]T(1,0,2))`.
_MESH = re.compile(
    r"@?mesh\w*\[([^\]]*)\](?:, *device_ids=\(((?:[^()]|\([^()]*\))*)\))? *\{([^}]*)\}"
)
_MESH_AXIS = re.compile(r"'([^']+)'=(\d+)")
_USED_AXIS = re.compile(r"'([^']+)'(?::\((\d+)\)(\d+))?")


def groups_of(instruction: Instruction, *, num_partitions: int) -> Groups:
    """Return the groups of a collective; pairs (source, target) of a collective-permute.

    Raises:
        HloTextError: They are written in a way that this reader does not know, or name a partition
            that is not there.
    """
    groups = parse_groups(_text_of(instruction), num_partitions=num_partitions)
    if any(not 0 <= member < num_partitions for group in groups for member in group):
        raise HloTextError(f"compiled program: {instruction.name} names partitions out of range")
    return groups


def _text_of(instruction: Instruction) -> str:
    pairs = instruction.attribute("source_target_pairs")
    if pairs is not None:
        return pairs
    groups = instruction.attribute("replica_groups") or "{}"
    # A mesh goes on behind a comma, where other attributes end.
    start = instruction.attributes.find(f"replica_groups={groups}") + len("replica_groups=")
    whole = _MESH.match(instruction.attributes, start)
    return whole[0] if whole else groups


def parse_groups(text: str, *, num_partitions: int) -> Groups:
    """Return the groups that `text` writes as lists, as an iota, or by the axes of a mesh.

    `{{0,1},{2,3}}`; `{}` is one group of all; `[2,2]<=[4]` counts up in rows of 2, after
    `<=[2,2]T(1,0)` in the transposed order; `mesh['a'=2,'b'=2] {'b'}` joins those that differ in b,
    after `, device_ids=([2,2]T(1,0))` those of a mesh whose devices count up in that order.

    Raises:
        HloTextError: Another form, or numbers that do not multiply.
    """
    text = text.strip()
    if found := _LISTS.fullmatch(text):
        lists = re.findall(r"\{([\d,]*)\}", text[1:-1]) if found[1] else []
        return tuple(_ints(each) for each in lists) or (tuple(range(num_partitions)),)
    if found := _IOTA.fullmatch(text):
        shape, dims = _ints(found[1]), _ints(found[2])
        order = _ints(found[3]) if found[3] else tuple(range(len(dims)))
        if math.prod(shape) == math.prod(dims) and sorted(order) == list(range(len(dims))):
            return _rows(_transposed(dims, order), shape[-1])
    if found := _MESH.fullmatch(text):
        return _mesh_groups(found[1], found[2], found[3], text)
    raise HloTextError(f"compiled program: unknown form of groups: {text[:100]}")


def axes_of(groups: Groups, *, axis_sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Return the mesh axes along which members of a group differ, outermost first.

    Partition i is the i-th device of the mesh, its last axis running fastest.
    """
    axes = []
    stride = math.prod(axis_sizes.values())
    for axis, size in axis_sizes.items():
        stride //= size
        if any(len({member // stride % size for member in group}) > 1 for group in groups):
            axes.append(axis)
    return tuple(axes)


def _mesh_groups(mesh: str, device_ids: str | None, used: str, text: str) -> Groups:
    sizes = {name: int(size) for name, size in _MESH_AXIS.findall(mesh)}
    # An axis may be used in part: 'a':(2)4 are the 4 steps below the first 2 parts of it.
    dims: list[int] = []
    grouped: list[int] = []
    wanted = {name: (pre, size) for name, pre, size in _USED_AXIS.findall(used)}
    if not set(wanted) <= set(sizes) or not sizes:
        raise HloTextError(f"compiled program: unknown form of groups: {text[:100]}")
    for name, size in sizes.items():
        pre, part = wanted.get(name, ("", ""))
        parts = (int(pre), int(part), size // (int(pre) * int(part))) if part else (1, size, 1)
        if math.prod(parts) != size:
            raise HloTextError(f"compiled program: parts of a mesh axis: {text[:100]}")
        if name in wanted:
            grouped.append(len(dims) + 1)
        dims += parts
    order = [i for i in range(len(dims)) if i not in grouped] + grouped
    members = _transposed(dims, order)
    if device_ids is not None:
        iota = re.fullmatch(r"(?:\[[\d,]+\]<=)?\[([\d,]+)\](?:T\(([\d,]+)\))?", device_ids)
        if iota:
            listed = _ints(iota[1])
            ids = _transposed(listed, _ints(iota[2]) if iota[2] else range(len(listed)))
        else:
            ids = list(_ints(device_ids))
        if sorted(ids) != list(range(len(members))):
            raise HloTextError(f"compiled program: unknown device ids: {text[:100]}")
        members = [ids[member] for member in members]
    return _rows(members, math.prod(dims[i] for i in grouped))


def _transposed(dims: Sequence[int], order: Sequence[int]) -> list[int]:
    """Return 0, 1, 2, ... laid out in `dims` and read with its dims in `order`."""
    strides = [math.prod(dims[i + 1 :]) for i in range(len(dims))]
    values = [0]
    for dim in order:
        values = [v + i * strides[dim] for v in values for i in range(dims[dim])]
    return values


def _rows(values: Sequence[int], length: int) -> Groups:
    return tuple(tuple(values[i : i + length]) for i in range(0, len(values), length))


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())
