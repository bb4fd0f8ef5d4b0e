"""What a communication runs over, and how long it takes at the least.

A ring of n devices moves (n-1)/n of the larger side of an all-gather or reduce-scatter through each
of them; an all-reduce is one of each, an all-to-all moves a fourth of that over a ring both ways.
Where an axis lies both within a slice (or node) and over several, it is done within first, so that
only that part of an array which a device holds then goes over the network.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from axl_exp.mesh import (
    MESH_AXES,
    Chip,
    HardwareSelector,
    HybridMeshShape,
    axis_sizes,
    split_over_slices,
)


@dataclasses.dataclass(frozen=True)
class Link:
    """One kind of wire."""

    name: str
    """ici, dcn, nvlink or network."""
    bytes_per_second: float
    """Out of one device, all its wires of this kind together that a ring along the axes uses."""


class Network:
    """Which part of each mesh axis lies within a slice or node, and over how many."""

    def __init__(self, cfg: Any, hardware: HardwareSelector):
        assert hardware.chip is not None
        self._chip: Chip = hardware.chip
        inner, outer = _within_and_over(cfg.mesh_shape, hardware, self._chip)
        self._inner, self._outer = inner, outer
        self._dims = _dims_of_axes(inner, self._chip, hardware.num_devices // hardware.num_slices)

    def parts(self, kind: str, axes: Sequence[str], num_bytes: int) -> Iterator[tuple[Link, float]]:
        """Yield each link that a communication uses, and the seconds that it takes there.

        Args:
            kind: As of `facts.Collective`.
            axes: The mesh axes that it goes along.
            num_bytes: Of the larger of its input and output, on one device.
        """
        inner = math.prod(self._inner[axis] for axis in axes)
        outer = math.prod(self._outer[axis] for axis in axes)
        if inner > 1:
            link = self._inner_link(axes)
            yield link, _seconds(kind, num_bytes, inner, link)
        if outer > 1:
            is_tpu = self._chip.ici is not None
            link = Link("dcn" if is_tpu else "network", self._chip.network_bytes_per_second)
            yield link, _seconds(kind, num_bytes / inner, outer, link)

    def _inner_link(self, axes: Sequence[str]) -> Link:
        if self._chip.ici is None:
            return Link("nvlink", self._chip.nvlink_bytes_per_second)
        dims = sum(self._dims.get(axis, 0.0) for axis in axes)
        return Link("ici", max(dims, 1.0) * self._chip.ici.bytes_per_second)


def _seconds(kind: str, num_bytes: float, num_devices: int, link: Link) -> float:
    share = num_bytes * (num_devices - 1) / num_devices
    factor = {"all-reduce": 2.0, "all-to-all": 0.25, "collective-permute": 1.0}.get(kind, 1.0)
    return factor * share / link.bytes_per_second


def _within_and_over(
    shape: Any, hardware: HardwareSelector, chip: Chip
) -> tuple[dict[str, int], dict[str, int]]:
    """The size of every axis within a slice or node, and over them."""
    if chip.ici is not None:
        if hardware.num_slices > 1 and not isinstance(shape, HybridMeshShape):
            shape = split_over_slices(shape, num_slices=hardware.num_slices)
        if isinstance(shape, HybridMeshShape):
            return axis_sizes(shape.ici), axis_sizes(shape.dcn)
        return axis_sizes(shape), dict.fromkeys(MESH_AXES, 1)
    # Devices are numbered node by node, and the innermost axis counts fastest.
    left, within = chip.node_devices, {}
    for axis, size in reversed(axis_sizes(shape).items()):
        within[axis] = math.gcd(size, left)
        left //= within[axis] if within[axis] == size else left
    return within, {axis: size // within[axis] for axis, size in axis_sizes(shape).items()}


def _dims_of_axes(sizes: dict[str, int], chip: Chip, num_chips: int) -> dict[str, float]:
    """How many links out of a chip a ring along each axis uses: two per closed dim of the grid.

    As JAX lays meshes out: the largest axis first, over those dims of the grid that multiply to it.
    An axis that is only part of a dim shares that dim's links, over a line.
    """
    if chip.ici is None or num_chips not in chip.ici.grids:
        return {}
    free = [dim for dim in chip.ici.grids[num_chips] if dim > 1]
    links: dict[str, float] = {}
    for axis, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size == 1:
            continue
        for count in range(1, len(free) + 1):
            found = next(
                (c for c in itertools.combinations(free, count) if math.prod(c) == size), None
            )
            if found:
                for dim in found:
                    free.remove(dim)
                links[axis] = sum(2.0 if dim % chip.ici.wraps_from == 0 else 1.0 for dim in found)
                break
        else:
            links[axis] = 1.0
    return links
