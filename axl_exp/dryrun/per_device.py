"""Programs of each device taken apart and put together, as a compiler does that sees into them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from axl_exp.dryrun.fusion import is_view
from axl_exp.dryrun.program import Op, Program, Value

# Over devices: what they do to a sum of two values is the sum of what they do to each.
_SUMS = ("psum", "reduce_scatter")


def made_apart(op: Op, alone: Sequence[int]) -> Iterator[Op]:
    """Yield the parts of `op` that make its outputs number `alone`, each by itself, and the rest.

    Yields `op` itself where parts have work in common.
    """
    rest = [i for i in range(len(op.outputs)) if i not in alone]
    parts = [_part(op, outputs) for outputs in ([rest] if rest else []) + [[i] for i in alone]]
    work = [inner for part in parts for inner in part.body.ops if not is_view(inner)]
    yield from parts if len(work) == len(set(work)) else [op]


def summed_once(add: Op, terms: Sequence[Op]) -> Op | None:
    """Return the program whose terms are added on each device before they are summed over devices.

    None where the terms are no programs of one output each that end in the same sums.

    Args:
        add: The addition.
        terms: What makes its inputs.
    """
    if len(terms) != 2 or any(op.name != "shard_map" or len(op.outputs) != 1 for op in terms):
        return None
    sums = [_last_sums(op.body) for op in terms]
    num_sums = 0
    for left, right in zip(*map(reversed, sums), strict=False):
        if (left.name, left.params) != (right.name, right.params):
            break
        num_sums += 1
    first, second = terms
    if not num_sums or first.params["out_specs"] != second.params["out_specs"]:
        return None
    shared, dropped = (each[len(each) - num_sums :] for each in sums)
    value = shared[0].inputs[0]
    total = Value(value.shape, value.dtype)
    added = dataclasses.replace(
        add, inputs=(value, dropped[0].inputs[0]), outputs=(total,), params={}
    )
    ops = [op for term in terms for op in term.body.ops if op not in {*shared, *dropped}]
    ops += [added, dataclasses.replace(shared[0], inputs=(total,)), *shared[1:]]
    body = Program(first.body.inputs + second.body.inputs, tuple(ops), first.body.outputs)
    in_specs = (*first.params["in_specs"], *second.params["in_specs"])
    return dataclasses.replace(
        first,
        inputs=first.inputs + second.inputs,
        outputs=add.outputs,
        params={**first.params, "jaxpr": body, "in_specs": in_specs},
    )


def _last_sums(body: Program) -> list[Op]:
    """The sums over devices that the output of `body` comes out of, in order."""
    made_by = {value: op for op in body.ops for value in op.outputs}
    readers = [value for op in body.ops for value in op.inputs]
    found: list[Op] = []
    value = body.outputs[0]
    while (op := made_by.get(value)) is not None and op.name in _SUMS and len(op.inputs) == 1:
        found.insert(0, op)
        value = op.inputs[0]
        if readers.count(value) > 1:
            break
    return found


def _part(op: Op, outputs: Sequence[int]) -> Op:
    """Return what makes `outputs` of a program of each device."""
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
