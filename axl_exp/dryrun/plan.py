"""The plan of a config on a hardware: everything that is known without compiling."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from typing import Any

import jax

from axl_exp.dryrun.facts import (
    Collective,
    ParamLayout,
    PlanFacts,
    Roofline,
    Spec,
)
from axl_exp.dryrun.kept_names import check_kept_names
from axl_exp.dryrun.layout import Mesh, whole
from axl_exp.dryrun.links import Network
from axl_exp.dryrun.plan_memory import largest_buffers, leaf_bytes, plan_memory
from axl_exp.dryrun.trace import TracedStep, trace_step
from axl_exp.dryrun.walk import Walk, walk
from axl_exp.mesh import axis_sizes, describe_mesh_shape, num_batch_shards
from axl_exp.resolve import Resolved

# Neighbours in a sweep share steps.
_NUM_STEPS_KEPT = 16
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
        memory=plan_memory(traced, found, mesh, resolved),
        largest=largest_buffers(traced, found),
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
        traced.program,
        [*constants, *state, *batch],
        wanted=wanted,
        mesh=mesh,
        made=frozenset(traced.program.inputs[:num_constants]),
        reused=reused,
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
                bytes_per_device=leaf_bytes(leaf, mesh),
            )
        )
    return layouts


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
