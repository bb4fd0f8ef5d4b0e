"""How the values of a program lie on the mesh: a small stand-in for XLA's partitioner.

It follows the layouts of inputs and the constraints in the program through every operation and
says where something must be communicated. Where the partitioner has a choice, this takes the one
that moves less.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from axl_exp.dryrun.facts import Spec
from axl_exp.dryrun.program import Value


@dataclasses.dataclass(frozen=True)
class Move:
    """A communication that an operation needs, of one array."""

    kind: str
    axes: tuple[str, ...]
    num_bytes: int
    """Of the larger of input and output, on one device."""
    value: Value
    """The array that is laid out anew."""
    is_input: bool
    """Whether it happens before the operation, to an input, or after, to an output."""


class Mesh:
    """The sizes of the mesh axes, and what follows for arrays on its devices."""

    def __init__(self, sizes: Mapping[str, int], *, lanes: int = 1):
        """Keep the sizes, and of how many elements an array's rows are a multiple (128 on a TPU).

        A TPU holds arrays in tiles of 8 x 128 (https://openxla.org/xla/tiled_layout).
        """
        self.sizes = dict(sizes)
        self.lanes = lanes

    @property
    def is_tpu(self) -> bool:
        """Whether the devices are TPUs: no others pad rows."""
        return self.lanes > 1

    def factor(self, axes: Sequence[str]) -> int:
        """Return how many devices lie along `axes`."""
        return math.prod([self.sizes.get(axis, 1) for axis in axes])

    def spec(self, partition_spec: Any, rank: int) -> Spec:
        """Return a PartitionSpec as a Spec of `rank` dims; axes of one device are left out."""
        entries = [*(partition_spec or ()), *(None for _ in range(rank))][:rank]
        return tuple(
            tuple(
                axis
                for axis in ((entry,) if isinstance(entry, str) else tuple(entry or ()))
                if self.sizes.get(axis, 1) > 1
            )
            for entry in entries
        )

    def local_bytes(self, value: Value, spec: Spec, *, in_rows: bool = False) -> int:
        """Return the bytes of `value` on one device; a dim that does not divide is padded.

        Rows run along the last dim where `in_rows`, else along that which leaves the least gaps.
        """
        dims = [
            -(-dim // self.factor(axes)) if axes else dim
            for dim, axes in zip(value.shape, spec, strict=True)
        ]
        count = math.prod(dims)
        if len(dims) < 2 or not count:
            return count * value.itemsize
        padded = [-(-dim // self.lanes) * self.lanes * (count // dim) for dim in dims]
        return (padded[-1] if in_rows else min(padded)) * value.itemsize


def whole(rank: int) -> Spec:
    """Return the layout of an array that every device has as a whole."""
    return ((),) * rank


def used_axes(spec: Spec) -> set[str]:
    """Return the mesh axes that split some dim."""
    return {axis for axes in spec for axis in axes}


def without(spec: Spec, axes: set[str]) -> Spec:
    """Return `spec` with `axes` taken out."""
    return tuple(tuple(a for a in entry if a not in axes) for entry in spec)


def merge(specs: Sequence[Spec]) -> Spec:
    """Return one layout for arrays of one shape: dim by dim the most split, no axis twice."""
    used: set[str] = set()
    merged = []
    for entries in zip(*specs, strict=True):
        best = max(entries, key=len, default=())
        best = tuple(axis for axis in best if axis not in used)
        used |= set(best)
        merged.append(best)
    return tuple(merged)


def reshaped(old: Sequence[int], new: Sequence[int], spec: Spec) -> Spec:
    """Return the layout after a reshape: of dims that are merged or split, the first keeps it."""
    result: list[tuple[str, ...]] = [()] * len(new)
    i = j = 0
    while i < len(old) and j < len(new):
        first_i, first_j = i, j
        size_old, size_new = old[i], new[j]
        while size_old != size_new:
            if size_old < size_new:
                i += 1
                size_old *= old[i]
            else:
                j += 1
                size_new *= new[j]
        # Sizes of 1 at the front have nothing to split.
        source = next((k for k in range(first_i, i + 1) if old[k] > 1), first_i)
        target = next((k for k in range(first_j, j + 1) if new[k] > 1), first_j)
        result[target] = spec[source]
        i, j = i + 1, j + 1
    return tuple(result)
