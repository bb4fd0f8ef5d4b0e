"""The layouts that values are going to be needed in, read backwards from where they end up.

A sum over devices is scattered where its result is wanted in parts: this says where.
"""

from __future__ import annotations

from collections.abc import Sequence

from axl_exp.dryrun.facts import Spec
from axl_exp.dryrun.layout import Mesh, reshaped
from axl_exp.dryrun.program import Op, Program, Value


def wanted_specs(program: Program, outputs: Sequence[Spec | None], mesh: Mesh) -> dict[Value, Spec]:
    """Return the layout that each value is wanted in, where that is known.

    Args:
        program: The operations.
        outputs: What is wanted of each output of the program; None where anything will do.
        mesh: The mesh.
    """
    wanted: dict[Value, Spec] = {}
    for value, spec in zip(program.outputs, outputs, strict=True):
        if spec is not None:
            wanted.setdefault(value, spec)
    for op in reversed(program.ops):
        for value, spec in _of_inputs(op, wanted, mesh):
            if len(value.shape) == len(spec):
                wanted.setdefault(value, spec)
    return wanted


def _of_inputs(op: Op, wanted: dict[Value, Spec], mesh: Mesh) -> list[tuple[Value, Spec]]:
    """What the inputs of one operation are wanted in."""
    if op.name == "sharding_constraint":
        value = op.inputs[0]
        return [(value, mesh.spec(op.params["sharding"].spec, len(op.outputs[0].shape)))]
    if op.name == "shard_map":
        pairs = zip(op.inputs, op.params["in_specs"], strict=True)
        return [(value, mesh.spec(spec, len(value.shape))) for value, spec in pairs]
    spec = wanted.get(op.outputs[0]) if op.outputs else None
    if op.name == "scan":
        return _of_scan(op, wanted)
    if spec is None or op.name in ("dot_general", "gather", "while", "cond"):
        return []
    shape = op.outputs[0].shape
    if op.name == "transpose":
        back = dict(zip(op.params["permutation"], spec, strict=True))
        return [(op.inputs[0], tuple(back[dim] for dim in range(len(spec))))]
    if op.name in ("reshape", "squeeze", "expand_dims"):
        return [(op.inputs[0], reshaped(shape, op.inputs[0].shape, spec))]
    if op.name == "stack":
        axis = op.params["axis"]
        return [(value, (*spec[:axis], *spec[axis + 1 :])) for value in op.inputs]
    if op.name in ("slice", "concatenate", "pad", "split"):
        return [(value, _of_like_dims(value, shape, spec)) for value in op.inputs if value.shape]
    return [(v, spec) for v in op.inputs if v.shape == shape]


def _of_like_dims(value: Value, shape: Sequence[int], spec: Spec) -> Spec:
    """Dims whose size an operation does not change are wanted as those of its output."""
    pairs = zip(value.shape, shape, spec, strict=True)
    return tuple(axes if size == new else () for size, new, axes in pairs)


def _of_scan(op: Op, wanted: dict[Value, Spec]) -> list[tuple[Value, Spec]]:
    """What a loop carries is wanted at its start as at its end."""
    num_consts, num_carry = op.params["num_consts"], op.params["num_carry"]
    starts = op.inputs[num_consts : num_consts + num_carry]
    return [
        (start, wanted[end])
        for start, end in zip(starts, op.outputs[:num_carry], strict=True)
        if end in wanted
    ]
