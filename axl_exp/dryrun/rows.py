"""Which values lie in memory as a kernel wants them: rows of the last dim, one after the other.

The compiler chooses a layout for whatever it computes by itself, and leaves no gaps in it. It has
no choice where a kernel reads or writes; and what a product makes for a kernel, nothing but views
and elementwise operations between, it makes in the kernel's layout at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from axl_exp.dryrun.fusion import is_alone, is_view
from axl_exp.dryrun.kernels import is_kernel
from axl_exp.dryrun.program import Op, Program, Value

_BODIES = ("scan", "shard_map", "while", "cond")


def kernel_rows(program: Program) -> frozenset[Value]:
    """Return the values of `program` and of the bodies in it that lie in a kernel's layout."""
    found: set[Value] = set()
    _mark(program, found)
    return frozenset(found)


def _mark(program: Program, found: set[Value]) -> None:
    made_by = {value: op for op in program.ops for value in op.outputs}
    for op in program.ops:
        read: list[Value] = []
        if is_kernel(op):
            read = list(op.inputs)
            found.update(op.outputs)
        elif op.name in _BODIES:
            _mark(op.body, found)
            pairs = zip(op.outputs, op.body.outputs, strict=False)
            found.update(outer for outer, inner in pairs if inner in found)
            if op.name == "shard_map":  # The same arrays, within a device.
                inside = op.body.inputs[len(op.body.inputs) - len(op.inputs) :]
                pairs = zip(op.inputs, inside, strict=True)
                read = [outer for outer, inner in pairs if inner in found]
        for value in read:
            found.update(_up_to_product(value, made_by))


def _up_to_product(value: Value, made_by: dict[Value, Op]) -> Iterator[Value]:
    """Yield what a kernel's operand is computed from, as far back as its layout reaches."""
    path, in_its_order = [value], 1
    while (op := made_by.get(path[-1])) is not None:
        if op.name == "dot_general":
            in_its_order = len(path)
            break
        source = _same_rows(op)
        if source is None:
            break
        path.append(source)
        if in_its_order == len(path) - 1 and op.name != "transpose":
            in_its_order += 1
    yield from path[:in_its_order]


def _same_rows(op: Op) -> Value | None:
    """Return the input with the rows that the output has; None where it has others."""
    if is_alone(op) or not op.outputs[0].shape:
        return None
    last = op.outputs[0].shape[-1]
    if is_view(op):
        source = op.inputs[0] if op.inputs else None
        return source if source and source.shape and source.shape[-1] == last else None
    return next((v for v in op.inputs if v.shape == op.outputs[0].shape), None)
