"""The memory of a planned step: what is alive at its fullest moment, by whom it belongs to."""

from __future__ import annotations

from typing import Any

import jax

from axl_exp.dryrun.facts import MemoryPlan
from axl_exp.dryrun.layout import Mesh
from axl_exp.dryrun.peak import Buffer
from axl_exp.dryrun.program import Value
from axl_exp.dryrun.trace import TracedStep
from axl_exp.dryrun.walk import Walk
from axl_exp.errors import UserError
from axl_exp.resolve import Resolved

_NUM_LARGEST = 8
# What libtpu sets aside beside arrays, if all stay on the chip: 1.8 to 2.9 MiB in 15 programs.
_SET_ASIDE_BYTES = 2 * 2**20
# On the chip, for what one operation works on (xla_tpu_scoped_vmem_limit_kib by default).
_SCOPED_KIB = 16 * 2**10
# XLA fetches ahead as far as there is room: 87 to 100 % of a device were taken in six programs
# (docs/performance.md).
_FETCHES_UNTIL = 0.9


def plan_memory(traced: TracedStep, found: Walk, mesh: Mesh, resolved: Resolved) -> MemoryPlan:
    """Return what a device holds at the fullest moment of the step that `found` followed."""
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


def largest_buffers(traced: TracedStep, found: Walk) -> tuple[tuple[str, int], ...]:
    """Return the largest of what is alive then, beside the state: what each is, and its bytes."""
    shapes = _param_shapes(traced)
    by_size = sorted(found.peak, key=lambda buffer: -buffer.num_bytes)[:_NUM_LARGEST]
    return tuple((_describe(buffer, shapes), buffer.num_bytes) for buffer in by_size)


def leaf_bytes(leaf: Any, mesh: Mesh) -> int:
    """Return the bytes of a `ShapeDtypeStruct` with a sharding, per device."""
    spec = mesh.spec(leaf.sharding.spec, len(leaf.shape))
    return mesh.local_bytes(Value(leaf.shape, leaf.dtype), spec)


def _on_host(leaf: Any) -> bool:
    return "host" in str(leaf.sharding.memory_kind or "")


def _tree_bytes(tree: Any, mesh: Mesh) -> int:
    return sum(leaf_bytes(leaf, mesh) for leaf in jax.tree.leaves(tree))


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
