"""The plan of a config on a hardware: everything that is known without compiling."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from typing import Any

import jax

from axl_exp.dryrun.facts import (
    Collective,
    MemoryPlan,
    ParamLayout,
    PlanFacts,
    Roofline,
    Spec,
)
from axl_exp.dryrun.kept_names import check_kept_names
from axl_exp.dryrun.layout import Mesh, whole
from axl_exp.dryrun.links import Network
from axl_exp.dryrun.peak import Buffer
from axl_exp.dryrun.program import Value
from axl_exp.dryrun.trace import TracedStep, trace_step
from axl_exp.dryrun.walk import Walk, walk
from axl_exp.errors import UserError
from axl_exp.mesh import axis_sizes, describe_mesh_shape, num_batch_shards
from axl_exp.resolve import Resolved

_NUM_LARGEST = 8
# What libtpu sets aside beside arrays, if all stay on the chip: 1.8 to 2.9 MiB in 15 programs.
_SET_ASIDE_BYTES = 2 * 2**20
# On the chip, for what one operation works on (xla_tpu_scoped_vmem_limit_kib by default).
_SCOPED_KIB = 16 * 2**10
# Neighbours in a sweep share steps.
_NUM_STEPS_KEPT = 16
# XLA fetches ahead as far as there is room: 87 to 100 % of a device were taken in six programs
# (docs/performance.md).
_FETCHES_UNTIL = 0.9
_TPU_LANES = 128


def plan_dry_run(resolved: Resolved) -> PlanFacts:
    """Return the plan of a config that is resolved for a hardware. Takes seconds, no device.

    Raises:
        UserError: Something does not divide over the mesh; the message names the axis and what
            would do.
    """
    cfg, hardware = resolved.config, resolved.hardware
    assert hardware is not None
    traced = trace_step(cfg, hardware)
    check_kept_names(cfg, traced.program)
    mesh = _mesh(traced)
    found = _follow(traced)
    rows, positions = cfg.input.global_batch_size, cfg.input.max_sequence_length
    num_seq_shards = axis_sizes(cfg.mesh_shape)["seq"]
    tokens_per_device = rows * positions / hardware.num_devices
    model_flops = traced.flops_per_token.causal * tokens_per_device
    executed_flops = sum(work.flops * work.count for work in found.work)
    collectives = _collectives(found, cfg, resolved)
    return PlanFacts(
        num_devices=hardware.num_devices,
        mesh=describe_mesh_shape(cfg.mesh_shape),
        batch=(rows, positions),
        batch_per_device=(
            rows // num_batch_shards(cfg.mesh_shape),
            positions // num_seq_shards,
        ),
        accumulation_steps=cfg.accumulation_steps,
        params=tuple(_param_layouts(traced, mesh)),
        memory=_memory(traced, found, mesh, resolved),
        largest=_largest(found.peak, _param_shapes(traced)),
        collectives=collectives,
        model_flops=model_flops,
        executed_flops=executed_flops,
        hbm_bytes=sum(work.num_bytes * work.count for work in found.work),
        roofline=_roofline(found, collectives, resolved, tokens_per_device, model_flops),
    )


def _mesh(traced: TracedStep) -> Mesh:
    return Mesh(traced.mesh_sizes, lanes=_TPU_LANES if traced.platform == "tpu" else 1)


@functools.lru_cache(maxsize=_NUM_STEPS_KEPT)
def _follow(traced: TracedStep) -> Walk:
    """The step followed through, its state written where it was."""
    mesh = _mesh(traced)
    leaves = jax.tree.leaves(traced.state)
    state = [mesh.spec(leaf.sharding.spec, len(leaf.shape)) for leaf in leaves]
    batch = [mesh.spec(traced.batch_spec, 2)] * traced.num_batch_leaves
    num_metrics = len(traced.program.outputs) - len(leaves)
    wanted: list[Spec | None] = [*state, *([None] * num_metrics)]
    reused = frozenset(range(len(leaves)))
    num_constants = len(traced.program.inputs) - len(state) - len(batch)
    constants = [whole(len(v.shape)) for v in traced.program.inputs[:num_constants]]
    return walk(
        traced.program, [*constants, *state, *batch], wanted=wanted, mesh=mesh, reused=reused
    )


def _param_layouts(traced: TracedStep, mesh: Mesh) -> list[ParamLayout]:
    logical_axes = traced.model.logical_axes
    layouts = []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(traced.state.params):
        path = "/".join(str(key.key) for key in keys)
        spec = mesh.spec(leaf.sharding.spec, len(leaf.shape))
        layouts.append(
            ParamLayout(
                path=path,
                shape=tuple(leaf.shape),
                dtype=str(leaf.dtype),
                logical_axes=tuple(logical_axes[path]),
                mesh_axes=spec,
                bytes_per_device=_leaf_bytes(leaf, mesh),
            )
        )
    return layouts


def _memory(traced: TracedStep, found: Walk, mesh: Mesh, resolved: Resolved) -> MemoryPlan:
    chip = resolved.hardware.chip if resolved.hardware else None
    params_bytes = _tree_bytes(traced.state.params, mesh)
    opt_state = [leaf for leaf in jax.tree.leaves(traced.state.opt_state) if not _on_host(leaf)]
    on_host = [leaf for leaf in jax.tree.leaves(traced.state.opt_state) if _on_host(leaf)]
    opt_state_bytes = _tree_bytes(opt_state, mesh)
    shapes = _param_shapes(traced)
    gradients_bytes = sum(b.num_bytes for b in found.peak if _is_gradient(b, shapes))
    activations_bytes = sum(
        b.num_bytes for b in found.peak if _is_kept(b) and not _is_gradient(b, shapes)
    )
    host_state_bytes = _tree_bytes(on_host, mesh)
    on_chip_bytes = _on_chip_bytes(found.peak_bytes, resolved)
    needed_bytes = params_bytes + opt_state_bytes + found.peak_bytes - on_chip_bytes
    # At the update: all gradients, and the state of all parameters where there is room for it.
    at_once_bytes = 2 * params_bytes + opt_state_bytes + host_state_bytes if on_host else 0
    if chip:
        at_once_bytes = min(at_once_bytes, int(_FETCHES_UNTIL * chip.usable_hbm_bytes))
    fetched_ahead_bytes = max(at_once_bytes - needed_bytes, 0)
    return MemoryPlan(
        params_bytes=params_bytes,
        opt_state_bytes=opt_state_bytes,
        gradients_bytes=gradients_bytes,
        activations_bytes=activations_bytes,
        working_bytes=found.peak_bytes - gradients_bytes - activations_bytes,
        fetched_ahead_bytes=fetched_ahead_bytes,
        on_chip_bytes=on_chip_bytes,
        total_bytes=needed_bytes + fetched_ahead_bytes,
        host_bytes=found.host_bytes + host_state_bytes,
        available_bytes=chip.usable_hbm_bytes if chip else None,
        host_available_bytes=chip.usable_host_bytes if chip else None,
    )


def _param_shapes(traced: TracedStep) -> set[tuple[int, ...]]:
    return {leaf.shape for leaf in jax.tree.leaves(traced.state.params)}


def _is_gradient(buffer: Buffer, shapes: set[tuple[int, ...]]) -> bool:
    return (
        buffer.op is not None
        and buffer.value.shape in shapes
        and ("transpose" in buffer.op.where or buffer.op.name == "scan")
    )


def _is_kept(buffer: Buffer) -> bool:
    """Whether the forward pass wrote it for the backward pass: an output of its loop."""
    return buffer.op is not None and buffer.op.name == "scan" and "transpose" not in buffer.op.where


def _largest(
    peak: Sequence[Buffer], param_shapes: set[tuple[int, ...]]
) -> tuple[tuple[str, int], ...]:
    by_size = sorted(peak, key=lambda buffer: -buffer.num_bytes)[:_NUM_LARGEST]
    return tuple((_describe(buffer, param_shapes), buffer.num_bytes) for buffer in by_size)


def _describe(buffer: Buffer, param_shapes: set[tuple[int, ...]]) -> str:
    """What a buffer is: its dtype and shape on the whole mesh, and what made it."""
    shape = ", ".join(map(str, buffer.value.shape))
    where = buffer.op.where if buffer.op is not None else ""
    made_by = "" if buffer.op is None else buffer.op.name
    if buffer.is_moved and made_by == "device_put":
        made_by, where = "on its way from or to the host", ""
    elif buffer.is_moved:
        made_by = f"gathered for {made_by}"
    elif _is_gradient(buffer, param_shapes):
        made_by = "gradient"
    elif _is_kept(buffer):
        made_by, where = "kept for the backward pass", ""
    told = ", ".join(word for word in (made_by, *_names_and_pass(where)) if word)
    return f"{buffer.value.dtype}[{shape}] {told}"


_PASSES = {
    "rematted_computation": "computed again",
    "transpose(jvp())": "backward",
    "jvp()": "forward",
}


def _names_and_pass(where: str) -> list[str]:
    """The names on JAX's stack, its passes by their usual names: `bsd,dh->bsh`, `backward`."""
    return [_PASSES.get(name, name) for name in where.split("/")]


def _leaf_bytes(leaf: Any, mesh: Mesh) -> int:
    spec = mesh.spec(leaf.sharding.spec, len(leaf.shape))
    return mesh.local_bytes(Value(leaf.shape, leaf.dtype), spec)


def _tree_bytes(tree: Any, mesh: Mesh) -> int:
    return sum(_leaf_bytes(leaf, mesh) for leaf in jax.tree.leaves(tree))


def _on_chip_bytes(num_bytes: int, resolved: Resolved) -> int:
    """How much of what a step makes never sees the main memory.

    All where it fits, but for what libtpu sets aside. Else part of it: six programs of 78 to
    269 MiB took less main memory by 2 to 88 % of the room. Half is as near as a plan comes.
    """
    chip = resolved.hardware.chip if resolved.hardware else None
    cfg: Any = resolved.config
    option = "xla_tpu_scoped_vmem_limit_kib"
    told = cfg.compiler_options.get(option, _SCOPED_KIB)
    try:
        scoped_kib = int(told)
    except ValueError as error:
        raise UserError(
            f"compiler_options[{option!r}]: {told!r} is no whole number of KiB; give it one, such "
            f"as {_SCOPED_KIB}."
        ) from error
    room = chip.shared_on_chip_bytes - 2**10 * scoped_kib if chip else 0
    if num_bytes <= room:
        return max(num_bytes - _SET_ASIDE_BYTES, 0)
    return max(room, 0) // 2


def _on_host(leaf: Any) -> bool:
    return "host" in str(leaf.sharding.memory_kind or "")


def _collectives(found: Walk, cfg: Any, resolved: Resolved) -> tuple[Collective, ...]:
    """Every kind of communication over every axis, the largest first."""
    hardware = resolved.hardware
    assert hardware is not None
    network = Network(cfg, hardware) if hardware.chip else None
    counts: dict[tuple, int] = collections.Counter()
    sizes: dict[tuple, int] = collections.Counter()
    seconds: dict[tuple, float] = collections.defaultdict(float)
    for move, count in found.moves:
        if not move.axes:
            continue
        if network is None:
            parts = [("host", 0.0)]
        else:
            used = network.parts(move.kind, move.axes, move.num_bytes)
            parts = [(link.name, each) for link, each in used]
        for link, each in parts:
            key = (move.kind, move.axes, link)
            counts[key] += count
            sizes[key] += count * move.num_bytes
            seconds[key] += count * each
    return tuple(
        Collective(
            kind=key[0],
            mesh_axes=key[1],
            link=key[2],
            count=counts[key],
            num_bytes=sizes[key],
            seconds=seconds[key] if network else None,
        )
        for key in sorted(counts, key=lambda key: (-sizes[key], key))
    )


def _roofline(
    found: Walk,
    collectives: Sequence[Collective],
    resolved: Resolved,
    tokens_per_device: float,
    model_flops: float,
) -> Roofline | None:
    """Every part at its peak, and all of them at once: no step is shorter."""
    chip = resolved.hardware.chip if resolved.hardware else None
    if chip is None:
        return None
    times = {
        "compute": sum(w.flops * w.count / chip.peak_of(w.kind) for w in found.work),
        "hbm": sum(w.num_bytes * w.count for w in found.work) / chip.hbm_bytes_per_second,
    }
    for collective in collectives:
        times[collective.link] = times.get(collective.link, 0.0) + (collective.seconds or 0.0)
    if found.host_traffic_bytes:
        times["host"] = found.host_traffic_bytes / chip.host_bytes_per_second
    # An operation waits for its products or for its memory, whichever takes longer.
    device_seconds = sum(
        w.count * max(w.flops / chip.peak_of(w.kind), w.num_bytes / chip.hbm_bytes_per_second)
        for w in found.work
    )
    links = {name: s for name, s in times.items() if name not in ("compute", "hbm")}
    step_seconds = max(device_seconds, *links.values(), 0.0)
    bound_by = max(links, key=lambda name: links[name], default="")
    if not links or links[bound_by] < device_seconds:
        bound_by = "compute" if times["compute"] >= times["hbm"] else "hbm"
    return Roofline(
        seconds=times,
        bound_by=bound_by,
        step_seconds=step_seconds,
        tokens_per_second_per_device=tokens_per_device / step_seconds,
        mfu=model_flops / chip.peak_flops_per_second / step_seconds,
    )
