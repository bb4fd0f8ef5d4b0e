"""The rule of every operation: the layout of its outputs, and what must be moved for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axl_exp.dryrun.facts import Spec
from axl_exp.dryrun.layout import Mesh, Move, merge, reshaped, used_axes, whole, without
from axl_exp.dryrun.program import Op, Program, Value

Rule = Callable[[Op, Sequence[Spec], Spec | None, Mesh], tuple[list[Spec], list[Move]]]

# An explicit communication of a per-device program, and what it is called elsewhere.
COLLECTIVES = {
    "psum": "all-reduce",
    "psum_invariant": "all-reduce",
    "pmax": "all-reduce",
    "pmin": "all-reduce",
    "all_gather": "all-gather",
    "all_gather_invariant": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "ppermute": "collective-permute",
    "all_to_all": "all-to-all",
}


def partition(
    op: Op, specs: Sequence[Spec], wanted: Spec | None, mesh: Mesh
) -> tuple[list[Spec], list[Move]]:
    """Return the layout of each output of `op`, and the moves before and after it.

    Args:
        op: Any operation but a loop.
        specs: The layout of each input.
        wanted: The layout that the first output is going to be needed in, where that is known.
        mesh: The mesh.
    """
    return _RULES.get(op.name, _elementwise)(op, specs, wanted, mesh)


def without_idle(program: Program, mesh: Mesh) -> Program:
    """Return `program` with communication among a single device as what it is: nothing."""
    ops: list[Op] = []
    for op in program.ops:
        if op.name in COLLECTIVES and not _axes_of(op, mesh):
            pairs = zip(op.inputs, op.outputs, strict=True)
            ops += [Op("copy", {}, (value,), (same,), op.where) for value, same in pairs]
        else:
            ops.append(op)
    return Program(program.inputs, tuple(ops), program.outputs)


def gathered(value: Value, spec: Spec, axes: set[str], mesh: Mesh) -> Move:
    """Return the all-gather of `value` over those of `axes` that split it."""
    target = without(spec, axes)
    split = tuple(sorted(used_axes(spec) & axes))
    return Move("all-gather", split, mesh.local_bytes(value, target), value, is_input=True)


def summed(
    value: Value, spec: Spec, axes: Sequence[str], wanted: Spec | None, mesh: Mesh
) -> tuple[Spec, list[Move]]:
    """Return the layout and the moves after the sum of `value` over `axes`.

    Where it is wanted split over one of them, that one's sum is scattered.
    """
    axes = [axis for axis in axes if mesh.factor((axis,)) > 1]
    scattered: list[str] = []
    target = list(spec)
    for i, entry in enumerate(wanted or ()):
        new = tuple(a for a in entry if a in axes and a not in scattered)
        if new and value.shape[i] % mesh.factor((*target[i], *new)) == 0:
            target[i] = (*target[i], *new)
            scattered += new
    moves = []
    if scattered:
        num_bytes = mesh.local_bytes(value, spec)
        moves.append(Move("reduce-scatter", tuple(scattered), num_bytes, value, is_input=False))
    rest = tuple(axis for axis in axes if axis not in scattered)
    if rest:
        num_bytes = mesh.local_bytes(value, tuple(target))
        moves.append(Move("all-reduce", rest, num_bytes, value, is_input=False))
    return tuple(target), moves


def _elementwise(op: Op, specs, wanted, mesh):
    """Every output is as split as the inputs of its shape are together."""
    moves: list[Move] = []
    outputs = []
    for out in op.outputs:
        like = [
            tuple(s if d == o else () for s, d, o in zip(spec, v.shape, out.shape, strict=True))
            for v, spec in zip(op.inputs, specs, strict=True)
            if not v.is_constant and len(v.shape) == len(out.shape)
        ]
        outputs.append(merge(like) if like else whole(len(out.shape)))
    for value, spec in zip(op.inputs, specs, strict=True):
        if value.is_constant or len(value.shape) != len(outputs[0]):
            continue
        lost = {
            axis
            for have, get in zip(spec, outputs[0], strict=True)
            for axis in have
            if axis not in get
        }
        if lost and value.shape == op.outputs[0].shape:
            moves.append(gathered(value, spec, lost, mesh))
    return outputs, moves


def _dot_general(op: Op, specs, wanted, mesh):
    (contract, batch) = op.params["dimension_numbers"]
    left_spec, right_spec = specs
    # What each mesh axis splits on either side: a pair that is contracted or kept, or a free dim.
    roles = []
    for spec, contracted, kept in zip(specs, contract, batch, strict=True):
        role = {}
        for dim, axes in enumerate(spec):
            for axis in axes:
                if dim in contracted:
                    role[axis] = ("contract", list(contracted).index(dim))
                elif dim in kept:
                    role[axis] = ("batch", list(kept).index(dim))
                else:
                    role[axis] = ("free", dim)
        roles.append(role)
    clash = {
        axis
        for axis in roles[0].keys() & roles[1].keys()
        if roles[0][axis] != roles[1][axis] or roles[0][axis][0] == "free"
    }
    lost: tuple[set[str], set[str]] = (set(), set())  # Over which either side is gathered.
    for axis in clash:
        lost[_keeps_left(op, specs, axis, wanted, mesh)].add(axis)
    moves = [
        gathered(value, spec, axes, mesh)
        for value, spec, axes in zip(op.inputs, specs, lost, strict=True)
        if axes
    ]
    left_spec, right_spec = map(without, specs, lost)
    free = [
        [axes for dim, axes in enumerate(spec) if dim not in contracted and dim not in kept]
        for spec, contracted, kept in zip((left_spec, right_spec), contract, batch, strict=True)
    ]
    kept_axes = [max(left_spec[i], right_spec[j], key=len) for i, j in zip(*batch, strict=True)]
    out_spec = merge([(*kept_axes, *free[0], *free[1])])
    partial = dict.fromkeys(
        axis
        for spec, dims in zip((left_spec, right_spec), contract, strict=True)
        for dim in dims
        for axis in spec[dim]
        if axis not in used_axes(out_spec)
    )
    out_spec, after = summed(op.outputs[0], out_spec, tuple(partial), wanted, mesh)
    return [out_spec], [*moves, *after]


def _keeps_left(op: Op, specs, axis: str, wanted: Spec | None, mesh: Mesh) -> bool:
    """Whether the second operand is gathered over a mesh axis that splits both in unlike ways.

    That whose dim the axis splits in the output as it is wanted stays; else the larger one.
    """
    if wanted is not None:
        (left_contracted, _), (left_kept, _) = op.params["dimension_numbers"]
        num_left = len(op.inputs[0].shape) - len(left_contracted)
        left, right = used_axes(wanted[:num_left]), used_axes(wanted[num_left:])
        if axis in left | right and axis not in used_axes(wanted[: len(left_kept)]):
            return axis in left
    sizes = [mesh.local_bytes(v, without(s, {axis})) for v, s in zip(op.inputs, specs, strict=True)]
    return sizes[1] <= sizes[0]


def _constraint(op: Op, specs, wanted, mesh):
    value, spec = op.inputs[0], specs[0]
    target = mesh.spec(op.params["sharding"].spec, len(value.shape))
    lost = {a for have, get in zip(spec, target, strict=True) for a in have if a not in get}
    moves = []
    if lost:
        kind = "all-to-all" if lost <= used_axes(target) else "all-gather"
        num_bytes = mesh.local_bytes(value, without(spec, lost))
        if kind == "all-to-all":
            num_bytes = mesh.local_bytes(value, spec)
        moves.append(Move(kind, tuple(sorted(lost)), num_bytes, value, is_input=True))
    return [target], moves


def _reduce(op: Op, specs, wanted, mesh):
    outputs, moves = [], []
    dropped = op.params["axes"]
    for out in op.outputs:
        spec = specs[0]
        kept = tuple(axes for dim, axes in enumerate(spec) if dim not in dropped)
        partial = [axis for dim in dropped for axis in spec[dim]]
        kept, after = summed(out, kept, partial, wanted, mesh)
        outputs.append(kept)
        moves += after
    return outputs, moves


def _broadcast(op: Op, specs, wanted, mesh):
    out = op.outputs[0]
    spec = list(whole(len(out.shape)))
    if op.inputs:
        value = op.inputs[0]
        for dim, to in enumerate(op.params["broadcast_dimensions"]):
            if value.shape[dim] == out.shape[to]:
                spec[to] = specs[0][dim]
    return [_as_wanted(tuple(spec), out, wanted, mesh)], []


def _iota(op: Op, specs, wanted, mesh):
    out = op.outputs[0]
    return [_as_wanted(whole(len(out.shape)), out, wanted, mesh)], []


def _as_wanted(spec: Spec, value: Value, wanted: Spec | None, mesh: Mesh) -> Spec:
    """Split the dims that nothing splits as they are wanted: a constant is made in any layout."""
    if wanted is None:
        return spec
    used = used_axes(spec)
    return tuple(
        want if not have and used.isdisjoint(want) and size % mesh.factor(want) == 0 else have
        for have, want, size in zip(spec, wanted, value.shape, strict=True)
    )


def _transpose(op: Op, specs, wanted, mesh):
    return [tuple(specs[0][dim] for dim in op.params["permutation"])], []


def _reshape(op: Op, specs, wanted, mesh):
    """Of dims that are merged or split, the first keeps the mesh axes if they divide it."""
    value, out = op.inputs[0], op.outputs[0]
    spec = reshaped(value.shape, out.shape, specs[0])
    kept = tuple(
        axes if size % mesh.factor(axes) == 0 else ()
        for axes, size in zip(spec, out.shape, strict=True)
    )
    lost = used_axes(specs[0]) - used_axes(kept)
    moves = [gathered(value, specs[0], lost, mesh)] if lost else []
    return [kept], moves


def _resized(op: Op, specs, wanted, mesh):
    """Slices, padding and joins: a dim whose size changes keeps its axes where they divide it."""
    outputs = []
    for out in op.outputs:
        same = [
            tuple(
                axes if new % mesh.factor(axes) == 0 else ()
                for axes, new in zip(spec, out.shape, strict=True)
            )
            for value, spec in zip(op.inputs, specs, strict=True)
            if len(value.shape) == len(out.shape)
        ]
        outputs.append(merge(same) if same else whole(len(out.shape)))
    return outputs, []


def _stack(op: Op, specs, wanted, mesh):
    merged = list(merge(specs))
    merged.insert(op.params["axis"], ())
    return [tuple(merged)], []


def _unstack(op: Op, specs, wanted, mesh):
    spec = list(specs[0])
    del spec[op.params["axis"]]
    return [tuple(spec) for _ in op.outputs], []


def _gather(op: Op, specs, wanted, mesh):
    """Rows of a table at indices, each as split as the indices; an index finds any row."""
    numbers = op.params["dimension_numbers"]
    (table, _), (table_spec, index_spec) = op.inputs[:2], specs[:2]
    out = op.outputs[0]
    index_axes = used_axes(index_spec)
    rows = {axis for dim in numbers.collapsed_slice_dims for axis in table_spec[dim]}
    clash = (rows | used_axes(table_spec)) & index_axes
    moves = [gathered(table, table_spec, clash, mesh)] if clash else []
    table_spec = without(table_spec, clash)
    hidden = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    slices = [a for d, a in enumerate(table_spec) if d not in hidden]
    positions = list(index_spec[:-1])
    spec = tuple(
        slices.pop(0) if dim in numbers.offset_dims else positions.pop(0) if positions else ()
        for dim in range(len(out.shape))
    )
    spec, after = summed(out, merge([spec]), sorted(rows - clash), wanted, mesh)
    return [spec], [*moves, *after]


def _scatter(op: Op, specs, wanted, mesh):
    """Updates added into a table: each device has those of its own rows, which are then summed."""
    out, spec, updates = op.outputs[0], specs[0], specs[2]
    partial = used_axes(updates) - used_axes(spec)
    spec, moves = summed(out, spec, sorted(partial), wanted, mesh)
    return [spec], moves


def _axes_of(op: Op, mesh: Mesh) -> tuple[str, ...]:
    """The mesh axes of more than one device that an explicit communication is over."""
    axes = op.params["axes"] if "axes" in op.params else op.params["axis_name"]
    axes = (axes,) if isinstance(axes, str) else tuple(axes)
    return tuple(axis for axis in axes if mesh.factor((axis,)) > 1)


def _collective(op: Op, specs, wanted, mesh):
    axes = _axes_of(op, mesh)
    moves = []
    for value, out in zip(op.inputs, op.outputs, strict=True):
        if axes:
            larger = max(
                (mesh.local_bytes(v, whole(len(v.shape))) for v in (value, out)), default=0
            )
            moves.append(
                Move(COLLECTIVES[op.name], axes, larger, out, is_input=op.name == "all_gather")
            )
    return [whole(len(out.shape)) for out in op.outputs], moves


_RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _resized,
    "dot_general": _dot_general,
    "dynamic_slice": _resized,
    "dynamic_update_slice": _resized,
    "gather": _gather,
    "iota": _iota,
    "pad": _resized,
    "reshape": _reshape,
    "expand_dims": _reshape,
    "scatter-add": _scatter,
    "scatter": _scatter,
    "sharding_constraint": _constraint,
    "slice": _resized,
    "split": _resized,
    "squeeze": _reshape,
    "stack": _stack,
    "transpose": _transpose,
    "unstack": _unstack,
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod"),
        _reduce,
    ),
    "argmax": _reduce,
    "argmin": _reduce,
    **dict.fromkeys(COLLECTIVES, _collective),
}
