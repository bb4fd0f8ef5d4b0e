"""The order of operations where a compiler does not keep the program's."""

from __future__ import annotations

import collections

from axl_exp.dryrun.fusion import is_view
from axl_exp.dryrun.program import Op, Program, Value


def with_products_at_their_sum(program: Program) -> Program:
    """Return `program` with products that are added to something moved to that addition.

    Of a table that is read at both ends of a model, the gradient of the head waits so for that of
    the lookup, and keeps the gradient of the logits alive while the layers go backward.
    """
    made_by = {value: op for op in program.ops for value in op.outputs}
    num_readers = collections.Counter(v for op in program.ops for v in {*op.inputs})
    num_readers.update(program.outputs)
    at_sum: dict[Op, list[Op]] = {}
    moved: set[Op] = set()
    for op in program.ops:
        if op.name != "add_any":
            continue
        for value in op.inputs:
            chain = _product_behind(value, made_by, num_readers)
            at_sum.setdefault(op, []).extend(chain)
            moved.update(chain)
    ops: list[Op] = []
    for op in program.ops:
        if op not in moved:
            ops += [*at_sum.get(op, ()), op]
    return Program(program.inputs, tuple(ops), program.outputs)


def _product_behind(
    value: Value, made_by: dict[Value, Op], num_readers: collections.Counter[Value]
) -> list[Op]:
    """Return the product that `value` is, and the views of it, if nobody else reads them."""
    chain: list[Op] = []
    while (op := made_by.get(value)) is not None and num_readers[value] == 1:
        chain.insert(0, op)
        if op.name == "dot_general":
            return chain
        if not is_view(op) or len(op.inputs) != 1:
            return []
        value = op.inputs[0]
    return []
