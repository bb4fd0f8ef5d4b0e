"""The order of operations where a compiler does not keep the program's."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence

from axl_exp.dryrun.fusion import is_view
from axl_exp.dryrun.partition import COLLECTIVES
from axl_exp.dryrun.program import Op, Program, Value


def with_products_at_their_sum(program: Program) -> Program:
    """Return `program` with products that are added to something moved to that addition.

    Of a table that is read at both ends of a model, the gradient of the head waits so for that of
    the lookup, and keeps the gradient of the logits alive while the layers go backward. A compiler
    sees into a program per device: of one with several outputs, what makes that gradient moves.
    """
    program = _with_summed_parts_apart(program)
    made_by = {value: op for op in program.ops for value in op.outputs}
    num_readers = _num_readers(program)
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
        if op.name == "dot_general" or _is_product(op):
            return chain
        if not (is_view(op) or op.name in COLLECTIVES) or len(op.inputs) != 1:
            return []
        value = op.inputs[0]
    return []


def _is_product(op: Op) -> bool:
    """Whether it is a program per device that makes one product, sent or not."""
    if op.name != "shard_map" or len(op.outputs) != 1:
        return False
    made_by = {value: inner for inner in op.body.ops for value in inner.outputs}
    return bool(_product_behind(op.body.outputs[0], made_by, _num_readers(op.body)))


def _num_readers(program: Program) -> collections.Counter[Value]:
    counts = collections.Counter(v for op in program.ops for v in {*op.inputs})
    counts.update(program.outputs)
    return counts


def _with_summed_parts_apart(program: Program) -> Program:
    """Return `program` with the part of each per-device program that makes a term by itself."""
    summed = {value for op in program.ops if op.name == "add_any" for value in op.inputs}
    ops: list[Op] = []
    for op in program.ops:
        terms = [i for i, value in enumerate(op.outputs) if value in summed]
        if op.name == "shard_map" and terms and len(op.outputs) > 1:
            ops += _apart(op, terms)
        else:
            ops.append(op)
    return Program(program.inputs, tuple(ops), program.outputs)


def _apart(op: Op, terms: Sequence[int]) -> Iterator[Op]:
    """Yield the parts of `op` that make its outputs number `terms`, each alone, and the rest.

    Yields `op` itself where they have work in common.
    """
    rest = [i for i in range(len(op.outputs)) if i not in terms]
    parts = [_part(op, outputs) for outputs in ([rest] if rest else []) + [[i] for i in terms]]
    work = [inner for part in parts for inner in part.body.ops if not is_view(inner)]
    yield from parts if len(work) == len(set(work)) else [op]


def _part(op: Op, outputs: Sequence[int]) -> Op:
    """Return what makes `outputs` of a per-device program."""
    body = op.body.part([op.body.outputs[i] for i in outputs])
    read = {value for inner in body.ops for value in inner.inputs} | {*body.outputs}
    inputs = [i for i, value in enumerate(body.inputs) if value in read]
    return dataclasses.replace(
        op,
        inputs=tuple(op.inputs[i] for i in inputs),
        outputs=tuple(op.outputs[i] for i in outputs),
        params={
            **op.params,
            "jaxpr": dataclasses.replace(body, inputs=tuple(body.inputs[i] for i in inputs)),
            "in_specs": tuple(op.params["in_specs"][i] for i in inputs),
            "out_specs": tuple(op.params["out_specs"][i] for i in outputs),
        },
    )
