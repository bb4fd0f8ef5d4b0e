"""The order of operations where a compiler does not keep the program's."""

from __future__ import annotations

import collections

from axl_exp.dryrun.fusion import is_view
from axl_exp.dryrun.partition import COLLECTIVES
from axl_exp.dryrun.per_device import made_apart, summed_once
from axl_exp.dryrun.program import Op, Program, Value


def in_compiled_order(program: Program) -> Program:
    """Return `program` with products that are added to something moved to that addition.

    Of a table that is read at both ends of a model, the gradient of the head waits so for that of
    the lookup, and keeps the gradient of the logits alive while the layers go backward. A compiler
    sees into programs of each device: what makes that gradient alone moves, and both are added
    before they are summed over devices, once.
    """
    program = _with_summed_parts_apart(program)
    made_by = {value: op for op in program.ops for value in op.outputs}
    num_readers = _num_readers(program)
    at_sum: dict[Op, list[Op]] = {}
    moved: set[Op] = set()
    for op in program.ops:
        if op.name != "add_any":
            continue
        inputs = [value for value in dict.fromkeys(op.inputs) if num_readers[value] == 1]
        at_sum[op] = [each for v in inputs for each in _product_behind(v, made_by, num_readers)]
        terms = [made_by[value] for value in inputs if value in made_by]
        together = summed_once(op, terms) if at_sum[op] else None
        if together is not None:
            at_sum[op] = [together]
            moved.update((*terms, op))
        moved.update(at_sum[op])
    ops: list[Op] = []
    for op in program.ops:
        ops += at_sum.get(op, ())
        if op not in moved:
            ops.append(op)
    return Program(program.inputs, tuple(ops), program.outputs)


def _product_behind(
    value: Value, made_by: dict[Value, Op], num_readers: collections.Counter[Value]
) -> list[Op]:
    """Return the product that `value` is, and the views of it, if nobody else reads them."""
    chain: list[Op] = []
    while (op := made_by.get(value)) is not None and num_readers[value] == 1:
        chain.insert(0, op)
        if op.name == "dot_general" or _is_product(op):
            return chain
        if not (is_view(op) or op.name in COLLECTIVES) or len(op.inputs) != 1:
            return []
        value = op.inputs[0]
    return []


def _is_product(op: Op) -> bool:
    """Whether it is a program of each device that makes one product, sent or not."""
    if op.name != "shard_map" or len(op.outputs) != 1:
        return False
    made_by = {value: inner for inner in op.body.ops for value in inner.outputs}
    return bool(_product_behind(op.body.outputs[0], made_by, _num_readers(op.body)))


def _num_readers(program: Program) -> collections.Counter[Value]:
    counts = collections.Counter(v for op in program.ops for v in {*op.inputs})
    counts.update(program.outputs)
    return counts


def _with_summed_parts_apart(program: Program) -> Program:
    """Return `program` with what makes a term of an addition in a program of its own."""
    summed = {value for op in program.ops if op.name == "add_any" for value in op.inputs}
    ops: list[Op] = []
    for op in program.ops:
        terms = [i for i, value in enumerate(op.outputs) if value in summed]
        if op.name == "shard_map" and terms and len(op.outputs) > 1:
            ops += made_apart(op, terms)
        else:
            ops.append(op)
    return Program(program.inputs, tuple(ops), program.outputs)
