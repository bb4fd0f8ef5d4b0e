"""The wires between devices: how long a collective occupies them, and which ones.

A TPU slice is a grid of chips, its long dims closed to rings; slices meet on the data center's
network. GPUs of a node meet on NVLink, nodes on a network. A transfer takes the time of its most
loaded wire. Formulas: Chan et al. 2007, "Collective communication: theory, practice, and
experience", for the bytes that each member must send; "How to Scale Your Model" (Google DeepMind,
2025), chapters 2 and 3, for the torus and for what is reached of a link's peak.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

from axl_exp.dryrun.compiled.collectives import Communication
from axl_exp.dryrun.compiled.groups import Groups
from axl_exp.mesh.hardware import Chip

# What large messages reach of a link's peak: 45 of v5e's 50 GB/s and 90 of v5p's 100 GB/s in
# chapter 2 of "How to Scale Your Model"; about the same of NVLink in chapter 12 (370 to 400 GB/s of
# 450 for an H100).
_REACHED_SHARE = 0.9
# From one chip to the next (chapter 3: about a microsecond per hop).
_HOP_SECONDS = 1e-6

Wire = tuple[int, int, int]
"""Chip, dim and direction."""
_NETWORK: Wire = (-1, 0, 0)


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a collective does to the wires."""

    seconds: float
    link: str
    """ici, dcn, nvlink or network: the slowest that it uses."""
    wires: frozenset[Wire] | None
    """Those that it occupies; None for all of them."""


class Network:
    """The wires between the devices of a mesh, partition by partition."""

    def __init__(
        self,
        chip: Chip,
        *,
        coords: Sequence[tuple[int, ...]],
        parts: list[int],
    ):
        """Describe the places of the partitions.

        Args:
            chip: Their kind.
            coords: Of each partition, its place in the grid of its slice; () for a GPU.
            parts: Of each partition, the number of its slice or node.
        """
        self._chip = chip
        self._coords = coords
        self._parts = parts
        num_dims = len(coords[0])
        self._grid = tuple(max(c[dim] for c in coords) + 1 for dim in range(num_dims))
        self.is_tpu = chip.ici is not None

    def transfer_of(self, what: Communication) -> Transfer:
        """Return what a collective does to the wires."""
        if what.num_slices > 1:
            return self.between_slices(what.kind, what.num_slices, num_bytes=what.num_bytes)
        return self.transfer(what.kind, self.global_groups(what), num_bytes=what.num_bytes)

    def transfer(self, kind: str, groups: Groups, *, num_bytes: int) -> Transfer:
        """Return how long a collective of `num_bytes` takes, the larger of its input and output.

        Args:
            kind: all-gather, reduce-scatter, all-reduce, all-to-all or collective-permute.
            groups: As `groups_of` returns them.
            num_bytes: On each device.
        """
        if kind == "collective-permute":
            return self._permute(groups, num_bytes)
        group = max(groups, key=len)
        parts = collections.Counter(self._parts[member] for member in group)
        inner_size, num_parts = max(parts.values()), len(parts)
        # Within a part first, then each member with those at its place in the other parts.
        seconds = self._inner_seconds(kind, group, num_bytes)
        if num_parts == 1:
            return Transfer(seconds, "ici" if self.is_tpu else "nvlink", None)
        rounds = 2 if kind == "all-reduce" else 1
        outer_bytes = num_bytes / inner_size * (num_parts - 1) / num_parts
        seconds += rounds * outer_bytes / self._network_bytes_per_second
        return Transfer(seconds, "dcn" if self.is_tpu else "network", None)

    def between_slices(self, kind: str, num_slices: int, *, num_bytes: int) -> Transfer:
        """Return how long a collective of each device with its like in other slices takes."""
        rounds = 2 if kind == "all-reduce" else 1
        moved = rounds * num_bytes * (num_slices - 1) / num_slices
        return Transfer(moved / self._network_bytes_per_second, "dcn", frozenset({_NETWORK}))

    def global_groups(self, what: Communication) -> Groups:
        """Return the groups of a collective in partitions of the whole mesh.

        A program for several slices is one slice's: it numbers the partitions of that slice alone.
        """
        by_part: dict[int, list[int]] = {}
        for partition, part in enumerate(self._parts):
            by_part.setdefault(part, []).append(partition)
        if what.num_slices > 1:
            return tuple(zip(*by_part.values(), strict=True))
        own = next(iter(by_part.values())) if self._is_local(what) else range(len(self._parts))
        return tuple(tuple(own[member] for member in group) for group in what.groups)

    def _is_local(self, what: Communication) -> bool:
        return self.is_tpu and max(map(max, what.groups)) < self._parts.count(self._parts[0])

    @property
    def _network_bytes_per_second(self) -> float:
        return self._chip.network_bytes_per_second * _REACHED_SHARE

    def _inner_seconds(self, kind: str, group: Sequence[int], num_bytes: int) -> float:
        part = self._parts[group[0]]
        members = [member for member in group if self._parts[member] == part]
        size = len(members)
        if size == 1:
            return 0.0
        rounds = 2 if kind == "all-reduce" else 1
        moved = rounds * num_bytes * (size - 1) / size
        ici = self._chip.ici
        if ici is None:
            return moved / (self._chip.nvlink_bytes_per_second * _REACHED_SHARE)
        bandwidth, hops, mean_hops = 0.0, 0.0, 0.0
        for dim, length in enumerate(self._grid):
            places = {self._coords[member][dim] for member in members}
            if len(places) == 1:
                continue
            is_ring = self._is_ring(dim) and len(places) * _spread(places, length) == length
            extent = length if is_ring else max(places) - min(places) + 1
            # Groups that interleave share the wires of the dim.
            share = len(places) / extent
            bandwidth += (2 if is_ring else 1) * share * ici.bytes_per_second * _REACHED_SHARE
            hops += extent / 2 if is_ring else extent - 1
            mean_hops += extent / 4 if is_ring else extent / 3
        if kind == "all-to-all":
            # Every byte passes several wires on its way.
            moved *= max(1.0, mean_hops)
        return moved / bandwidth + rounds * hops * _HOP_SECONDS

    def _is_ring(self, dim: int) -> bool:
        ici, length = self._chip.ici, self._grid[dim]
        return ici is not None and length >= ici.wraps_from and length % ici.wraps_from == 0

    def _permute(self, pairs: Groups, num_bytes: int) -> Transfer:
        wires, most, hops, crosses = self._routes(pairs)
        if crosses:
            seconds = num_bytes / self._network_bytes_per_second
            return Transfer(seconds, "dcn" if self.is_tpu else "network", None)
        ici = self._chip.ici
        if ici is None:
            seconds = num_bytes / (self._chip.nvlink_bytes_per_second * _REACHED_SHARE)
            return Transfer(seconds, "nvlink", None)
        seconds = most * num_bytes / (ici.bytes_per_second * _REACHED_SHARE)
        return Transfer(seconds + hops * _HOP_SECONDS, "ici", wires)

    @functools.lru_cache(maxsize=1024)  # noqa: B019 - lives as long as one dry run
    def _routes(self, pairs: Groups) -> tuple[frozenset[Wire], int, int, bool]:
        """Return the wires on the way of all pairs, the load of the fullest, the longest way."""
        loads: collections.Counter[Wire] = collections.Counter()
        longest, crosses = 0, False
        for source, target in pairs:
            if self._parts[source] != self._parts[target]:
                crosses = True
                continue
            route = list(self._route(source, target))
            longest = max(longest, len(route))
            loads.update(route)
        return frozenset(loads), max(loads.values(), default=0), longest, crosses

    def _route(self, source: int, target: int) -> Iterator[Wire]:
        """Yield the wires of the shortest way, one dim after the other."""
        here = list(self._coords[source])
        for dim, goal in enumerate(self._coords[target]):
            length = self._grid[dim]
            ahead = goal - here[dim]
            if self._is_ring(dim):
                ahead = (ahead + length // 2) % length - length // 2
            for _ in range(abs(ahead)):
                direction = int(math.copysign(1, ahead))
                place = sum(h * math.prod(self._grid[d + 1 :]) for d, h in enumerate(here))
                yield place + self._parts[source] * math.prod(self._grid), dim, direction
                here[dim] = (here[dim] + direction) % length


def _spread(places: set[int], length: int) -> int:
    """Return the distance of neighbours where they are equally far from each other, else 1."""
    ordered = sorted(places)
    gaps = {b - a for a, b in zip(ordered, ordered[1:], strict=False)}
    gaps.add(length - ordered[-1] + ordered[0])
    return gaps.pop() if len(gaps) == 1 else 1
