"""Which values of a program get memory of their own, and when it can be given back.

XLA computes chains of elementwise operations as one and writes down only the end of a chain. A
value has memory if something reads it that cannot be computed on the fly (a product, a loop, the
network), or if computing it again would keep more alive than the value itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from axl_exp.dryrun.kernels import is_kernel
from axl_exp.dryrun.program import Op, Program, Value

# Computed on the fly by whoever reads it, whatever it is.
_VIEWS = {
    "bitcast_convert_type",
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "copy_p",
    "expand_dims",
    "iota",
    "layout_constraint",
    "name",
    "reduce_precision",
    "reshape",
    "rev",
    "sharding_constraint",
    "slice",
    "split",
    "squeeze",
    "stop_gradient",
    "transpose",
    "unstack",
}
# Of these, what has other bytes, or in another order.
_REWRITES = {
    "broadcast_in_dim",
    "convert_element_type",
    "rev",
    "slice",
    "split",
    "transpose",
    "unstack",
}
_LOOPS = {"scan", "while", "shard_map"}
# Never computed on the fly.
_ALONE = {
    "all_gather",
    "argmax",
    "argmin",
    "cond",
    "conv_general_dilated",
    "cumsum",
    "custom_partitioning",
    "device_put",
    "dot_general",
    "gather",
    "optimization_barrier",
    "psum",
    "reduce_scatter",
    "scan",
    "scatter",
    "scatter-add",
    "shard_map",
    "sort",
    "top_k",
    "while",
}
_REDUCTIONS = ("reduce_", "cum", "arg")


class Fusion:
    """The values of a program that have memory, and what each of the others is computed from."""

    def __init__(
        self, program: Program, *, made: frozenset[Value], bytes_of: Callable[[Value], int]
    ):
        self._bytes_of = bytes_of
        self._readers: dict[Value, list[Op]] = {}
        for op in program.ops:
            for value in op.inputs:
                if not value.is_constant:
                    self._readers.setdefault(value, []).append(op)
        self._outputs = set(program.outputs)
        self._made = made
        # What no memory holds as it is, nor in another layout.
        self._on_the_fly: set[Value] = set()
        self.has_memory: set[Value] = set(program.inputs) - made
        self.roots: dict[Value, frozenset[Value]] = {
            v: frozenset([v] if v in self.has_memory else []) for v in program.inputs
        }
        for op in program.ops:
            behind = self.read_by(op)
            for value in op.outputs:
                if self._is_written(op, value, behind):
                    self.has_memory.add(value)
                    self.roots[value] = frozenset([value])
                else:
                    self.roots[value] = behind

    def read_by(self, op: Op) -> frozenset[Value]:
        """Return the values with memory that computing `op` reads."""
        found: set[Value] = set()
        for value in op.inputs:
            if not value.is_constant:
                found |= self.roots[value]
        return frozenset(found)

    def last_reads(self, program: Program) -> Mapping[Value, int]:
        """Return at which operation each value with memory is read for the last time."""
        last: dict[Value, int] = {}
        for i, op in enumerate(program.ops):
            if any(value in self.has_memory for value in op.outputs) or is_alone(op):
                for value in self.read_by(op):
                    last[value] = i
        return last

    def _is_written(self, op: Op, value: Value, behind: frozenset[Value]) -> bool:
        if value in self._made:
            return False
        if is_alone(op):
            return True
        readers = self._readers.get(value, [])
        is_read_whole = value in self._outputs or any(
            is_alone(reader) and not _is_sum(reader.name) for reader in readers
        )
        if is_view(op) and not any(source in self._on_the_fly for source in op.inputs):
            # What is laid out anew is still the same memory; a loop or a kernel finds it as it is.
            in_full = any(reader.name in _LOOPS or is_kernel(reader) for reader in readers)
            return bool(behind) and in_full and op.name in _REWRITES
        if is_read_whole:
            return True
        self._on_the_fly.add(value)
        if is_view(op):
            return False
        # Read in several places: written once where that is less than what it comes from.
        large = [v for v in behind if 2 * self._bytes_of(v) >= self._bytes_of(value)]
        is_written = len(readers) > 1 and len(large) > 1
        if is_written:
            self._on_the_fly.discard(value)
        return is_written


def is_view(op: Op) -> bool:
    """Return whether an operation shows its input in another way, or is made of nothing."""
    return op.name in _VIEWS


def is_alone(op: Op) -> bool:
    """Return whether an operation is never part of a chain: its inputs and outputs have memory."""
    return op.name in _ALONE or is_kernel(op) or _is_sum(op.name)


@functools.cache
def _is_sum(name: str) -> bool:
    """Whether it ends a chain: what it reads is computed on the fly, what it writes is small."""
    return name.startswith(_REDUCTIONS) and name not in _VIEWS
