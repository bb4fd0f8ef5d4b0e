"""A program followed from its first operation to its last: what is alive, moved and computed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from axl_exp.dryrun.facts import Spec
from axl_exp.dryrun.fusion import Fusion, is_alone, is_view
from axl_exp.dryrun.kernels import kernel_flops
from axl_exp.dryrun.layout import Mesh, Move, used_axes, whole
from axl_exp.dryrun.order import in_compiled_order
from axl_exp.dryrun.partition import partition, without_idle
from axl_exp.dryrun.peak import Buffer, fullest_moment
from axl_exp.dryrun.program import Op, Program, Value
from axl_exp.dryrun.rows import kernel_rows
from axl_exp.dryrun.wanted import wanted_specs


@dataclasses.dataclass(frozen=True)
class Work:
    """Operations of one kind, so many times a step, on one device."""

    flops: float
    num_bytes: int
    """Read from and written to its memory."""
    count: int
    kind: str = ""
    """Of numbers that a product multiplies, where chips have a rate of its own: int8 or float8."""


@dataclasses.dataclass(frozen=True)
class Walk:
    """What following a program found."""

    specs: dict[Value, Spec]
    outputs: list[Spec]
    moves: list[tuple[Move, int]]
    """Every communication and how often it happens."""
    work: list[Work]
    peak_bytes: int
    """Of the device, beside the inputs."""
    peak: list[Buffer]
    host_bytes: int
    """In the host's memory, what the program returns left out: that is its caller's."""
    host_traffic_bytes: int
    """Copied between device and host, both ways."""


def walk(
    program: Program,
    inputs: Sequence[Spec],
    *,
    wanted: Sequence[Spec | None],
    mesh: Mesh,
    made: frozenset[Value] = frozenset(),
    reused: frozenset[int] = frozenset(),
    rows: frozenset[Value] | None = None,
) -> Walk:
    """Return what happens when `program` runs.

    Args:
        program: The operations.
        inputs: The layout of each input; their memory is the caller's.
        wanted: The layout that each output is needed in; None where anything will do.
        mesh: The mesh.
        made: Inputs that are made of nothing where they are needed, such as a matrix of zeros.
        reused: Outputs that are written where an input was, so that they need no memory.
        rows: What lies as a kernel wants it; None finds out.
    """
    program = without_idle(in_compiled_order(program), mesh)
    if rows is None:
        rows = kernel_rows(program)
    return _Walker(program, inputs, wanted, mesh, made, reused, rows).result()


class _Walker:
    def __init__(self, program, inputs, wanted, mesh, made, reused, rows):
        self.program: Program = program
        self.mesh: Mesh = mesh
        self.rows: frozenset[Value] = rows
        self.wanted = wanted_specs(program, wanted, mesh)
        self.specs: dict[Value, Spec] = dict(zip(program.inputs, inputs, strict=True))
        self.made: frozenset[Value] = made
        self._made_here: set[Value] = set(made)
        self.free = {program.outputs[i] for i in reused}
        self.bodies: dict[Op, tuple[Walk, int]] = {}
        self.moves_of: dict[Op, list[Move]] = {}
        self._seen_moves: set[tuple[Value, str, tuple[str, ...]]] = set()
        self._bytes: dict[Value, int] = {}
        for op in program.ops:
            self._place(op)

    def bytes_of(self, value: Value) -> int:
        """Return the size of a value on a device, once every value has its layout."""
        if value not in self._bytes:
            in_rows = value in self.rows
            self._bytes[value] = self.mesh.local_bytes(value, self.specs[value], in_rows=in_rows)
        return self._bytes[value]

    def _walk_body(self, op: Op, inputs: list[Spec], wanted: list[Spec | None]) -> Walk:
        return walk(
            op.body,
            inputs,
            wanted=wanted,
            mesh=self.mesh,
            made=self._made_inside(op, op.body),
            # What a per-device program puts out lies where it is needed outside.
            reused=frozenset(range(len(op.outputs))) if op.name == "shard_map" else frozenset(),
            rows=self.rows,
        )

    # -- layouts ------------------------------------------------------------------------------

    def _place(self, op: Op) -> None:
        # Constants that views show; a TPU's compiler computes anew what comes of constants alone.
        is_cheap = is_view(op) or (self.mesh.is_tpu and not is_alone(op))
        if is_cheap and all(v.is_constant or v in self._made_here for v in op.inputs):
            self._made_here.update(op.outputs)
        specs = [self.specs.get(v, whole(len(v.shape))) for v in op.inputs]
        if op.name == "scan":
            outputs, moves = self._place_scan(op, specs), []
        elif op.name in ("while", "cond", "shard_map"):
            outputs, moves = self._place_part(op, specs)
        else:
            outputs, moves = partition(op, specs, self.wanted.get(op.outputs[0]), self.mesh)
        for value, spec in zip(op.outputs, outputs, strict=True):
            self.specs[value] = spec
        self.moves_of[op] = moves

    def _place_scan(self, op: Op, specs: list[Spec]) -> list[Spec]:
        num_consts, num_carry = op.params["num_consts"], op.params["num_carry"]
        body, first_x = op.body, num_consts + num_carry
        inside = [*specs[:first_x], *(spec[1:] for spec in specs[first_x:])]
        num_extra = len(body.inputs) - len(inside)  # Constants of the body itself.
        inside = [*(whole(len(v.shape)) for v in body.inputs[:num_extra]), *inside]
        wanted: list[Spec | None] = [self.wanted.get(v) for v in op.outputs[:num_carry]]
        wanted += [_rest(self.wanted.get(v)) for v in op.outputs[num_carry:]]
        carried = slice(num_extra + num_consts, num_extra + first_x)
        for i, want in enumerate(wanted[:num_carry]):
            if want is None:
                wanted[i] = inside[carried][i]
        found = self._walk_body(op, inside, wanted)
        if found.outputs[:num_carry] != inside[carried]:
            inside[carried] = found.outputs[:num_carry]
            found = self._walk_body(op, inside, wanted)
        self.bodies[op] = (found, op.params["length"])
        return [*found.outputs[:num_carry], *(((), *s) for s in found.outputs[num_carry:])]

    def _place_part(self, op: Op, specs: list[Spec]) -> tuple[list[Spec], list[Move]]:
        """A branch, a loop of unknown length, or a program per device."""
        body = op.body
        if op.name == "shard_map":
            inside = [whole(len(v.shape)) for v in body.inputs]
            outputs = [
                self.mesh.spec(spec, len(v.shape))
                for spec, v in zip(op.params["out_specs"], op.outputs, strict=True)
            ]
            moves = list(self._into_shard_map(op, specs))
        else:
            given = specs[len(specs) - len(body.inputs) :]
            inside = [
                spec if len(spec) == len(v.shape) else whole(len(v.shape))
                for spec, v in zip(given, body.inputs, strict=True)
            ]
            outputs, moves = None, []
        wanted: list[Spec | None] = [None] * len(body.outputs)
        found = self._walk_body(op, inside, wanted)
        self.bodies[op] = (found, 1)
        return outputs or found.outputs, moves

    def _made_inside(self, op: Op, body: Program) -> frozenset[Value]:
        """The inputs of a body that are made of nothing; what a loop changes is not."""
        first = len(body.inputs) - len(op.inputs)
        pairs = zip(op.inputs, body.inputs[max(first, 0) :], strict=False)
        carried: tuple[Value, ...] = ()
        if op.name == "scan":
            start = op.params["num_consts"]
            carried = op.inputs[start : start + op.params["num_carry"]]
        return frozenset(
            inner
            for outer, inner in pairs
            if (outer in self._made_here or outer.is_constant) and outer not in carried
        )

    def _into_shard_map(self, op: Op, specs: list[Spec]) -> Iterator[Move]:
        for value, spec, into in zip(op.inputs, specs, op.params["in_specs"], strict=True):
            target = self.mesh.spec(into, len(value.shape))
            lost = {a for have, get in zip(spec, target, strict=True) for a in have if a not in get}
            if lost:
                num_bytes = self.mesh.local_bytes(value, target)
                yield Move("all-gather", tuple(sorted(lost)), num_bytes, value, is_input=True)

    # -- what it comes to ---------------------------------------------------------------------

    def result(self) -> Walk:
        """Return what the program comes to, loops and per-device parts within it included."""
        made = frozenset(self._made_here)
        fusion = Fusion(self.program, made=made, bytes_of=self.bytes_of)
        moves: list[tuple[Move, int]] = []
        work: list[Work] = []
        host_bytes = host_traffic_bytes = 0
        returned = set(self.program.outputs)
        for op in self.program.ops:
            moves += [(move, 1) for move in self.moves_of[op] if self._is_new(move, fusion)]
            work += self._work(op, fusion)
            host_bytes += sum(
                self.bytes_of(v) for v in op.outputs if v.on_host and v not in returned
            )
            host_traffic_bytes += self._host_traffic_bytes(op)
            if op in self.bodies:
                inner, count = self.bodies[op]
                given = _gathered_inputs(op)
                moves += [
                    (move, n * count)
                    for move, n in inner.moves
                    if move.value not in given
                    or self._is_new(dataclasses.replace(move, value=given[move.value]), fusion)
                ]
                work += [dataclasses.replace(w, count=w.count * count) for w in inner.work]
                host_bytes += inner.host_bytes
                host_traffic_bytes += inner.host_traffic_bytes * count
        peak_bytes, peak = fullest_moment(
            self.program,
            fusion,
            moves_of=self.moves_of,
            inside={op: self._inside(op) for op in self.bodies},
            bytes_of=self.bytes_of,
            placed=self.free,
        )
        outputs = [self.specs.get(v, whole(len(v.shape))) for v in self.program.outputs]
        return Walk(
            specs=self.specs,
            outputs=outputs,
            moves=moves,
            work=work,
            peak_bytes=peak_bytes,
            peak=peak,
            host_bytes=host_bytes,
            host_traffic_bytes=host_traffic_bytes,
        )

    def _host_traffic_bytes(self, op: Op) -> int:
        if op.name != "device_put":
            return 0
        pairs = zip(op.inputs, op.outputs, strict=True)
        return sum(self.bytes_of(new) for old, new in pairs if old.on_host != new.on_host)

    def _is_new(self, move: Move, fusion: Fusion) -> bool:
        """Whether an array was not gathered before: what has been is used again."""
        roots = fusion.roots.get(move.value, frozenset([move.value]))
        root = next(iter(roots)) if len(roots) == 1 else move.value
        if math.prod(root.shape) != math.prod(move.value.shape):
            root = move.value  # A part: other parts are not here yet.
        key = (root, move.kind, move.axes)
        if move.is_input and key in self._seen_moves:
            return False
        self._seen_moves.add(key)
        return True

    def _work(self, op: Op, fusion: Fusion) -> list[Work]:
        if op in self.bodies:
            return []
        written = [v for v in op.outputs if v in fusion.has_memory]
        if not written and not is_alone(op):
            return []
        num_bytes = sum(self.bytes_of(v) for v in (*fusion.read_by(op), *written))
        return [Work(self._flops(op), num_bytes, 1, _kind_of_numbers(op))]

    def _flops(self, op: Op) -> float:
        if op.name == "dot_general":
            (contracted, _), _ = op.params["dimension_numbers"]
            left, out = op.inputs[0], op.outputs[0]
            summed = math.prod(left.shape[dim] for dim in contracted)
            # What splits the output, and what the sum is divided over, divides the work.
            axes = used_axes(self.specs[out]) | {
                axis for move in self.moves_of[op] if not move.is_input for axis in move.axes
            }
            return 2.0 * math.prod(out.shape) * summed / self.mesh.factor(sorted(axes))
        return kernel_flops(op)

    def _inside(self, op: Op) -> tuple[int, list[Buffer]]:
        """What a body holds at its fullest moment, and what is on its way meanwhile."""
        body = self.bodies[op][0]
        in_flight = list(self._in_flight(op))
        total = body.peak_bytes + sum(buffer.num_bytes for buffer in in_flight)
        return total, [*body.peak, *in_flight]

    def _in_flight(self, op: Op) -> Iterator[Buffer]:
        """What is on its way between device and host while a turn of a loop runs.

        What the next turn reads is fetched, and what the last one left is sent, so that none waits.
        """
        if op.name != "scan":
            return
        specs = self.bodies[op][0].specs
        for each in op.body.ops:
            if each.name == "device_put" and each.inputs[0].on_host != each.outputs[0].on_host:
                value = each.outputs[0]
                num_bytes = self.mesh.local_bytes(value, specs[value], in_rows=value in self.rows)
                yield Buffer(each, value, num_bytes, True)


def _gathered_inputs(op: Op) -> dict[Value, Value]:
    """What a per-device program gathers of its inputs, and those as they are outside.

    Where two such programs gather one input, the compiler does so once.
    """
    if op.name != "shard_map":
        return {}
    given = dict(zip(op.body.inputs, op.inputs, strict=True))
    return {
        inner.outputs[0]: given[inner.inputs[0]]
        for inner in op.body.ops
        if inner.name == "all_gather" and inner.inputs[0] in given
    }


def _kind_of_numbers(op: Op) -> str:
    if op.name != "dot_general":
        return ""
    kinds = {str(value.dtype).partition("_")[0] for value in op.inputs}
    return kinds.pop() if kinds in ({"int8"}, {"float8"}) else ""


def _rest(spec: Spec | None) -> Spec | None:
    return None if spec is None else spec[1:]
