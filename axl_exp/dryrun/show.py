"""One dry run for people: tables in a terminal, the same text in a pipe."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from axl_exp.dryrun.dry_run import DryRun
from axl_exp.dryrun.facts import MemoryPlan, ParamLayout, PlanFacts
from axl_exp.report.terminal import make_facts, make_table
from axl_exp.report.text import format_bytes, format_number, format_seconds


def show(run: DryRun, console: Console) -> None:
    """Print everything that `run` tells; parameters that lie alike share a line."""
    plan = run.plan
    console.print(f"{run.config} on {run.selector}", style="bold")
    console.print(make_facts(_facts(run)))
    console.print()
    console.print(_params_table(plan))
    console.print()
    console.print(_memory_table(plan))
    if plan.collectives:
        console.print()
        console.print(_collectives_table(plan))
    if plan.roofline is not None:
        console.print()
        console.print(make_facts(_time_facts(plan)))
    console.print()
    console.print(verdict(run))


def verdict(run: DryRun) -> Text:
    """Return one line: whether it fits, and with how much to spare."""
    memory = run.plan.memory
    if memory.available_bytes is None or memory.headroom_bytes is None:
        return Text(f"needs {format_bytes(memory.total_bytes)} per device")
    share = 100 * memory.total_bytes / memory.available_bytes
    if memory.fits:
        words = (
            f"fits: {format_bytes(memory.total_bytes)} of {format_bytes(memory.available_bytes)} "
            f"per device, {100 - share:.0f} % to spare (planned, not compiled)"
        )
        return Text(words, style="bold green")
    words = (
        f"does not fit: {format_bytes(memory.total_bytes)} of "
        f"{format_bytes(memory.available_bytes)} per device (planned, not compiled)"
    )
    return Text(words, style="bold red")


def _facts(run: DryRun) -> Iterator[tuple[str, str]]:
    plan = run.plan
    rows, positions = plan.batch
    here = plan.batch_per_device
    yield "mesh", f"{plan.mesh}, {plan.num_devices:,} devices"
    yield "batch", f"{rows:,} x {positions:,} tokens, {here[0]:,} x {here[1]:,} per device"
    if plan.accumulation_steps > 1:
        yield "accumulation", f"{plan.accumulation_steps} parts"
    yield "rule", run.rule


def _params_table(plan: PlanFacts):
    rows = []
    for layouts in _alike(plan.params):
        first = layouts[0]
        more = f" and {len(layouts) - 1} more" if len(layouts) > 1 else ""
        rows.append(
            (
                f"{first.path}{more}",
                " ".join(
                    f"{name}={size}" + (f"/{'*'.join(axes)}" if axes else "")
                    for name, size, axes in zip(
                        first.logical_axes, first.shape, first.mesh_axes, strict=True
                    )
                ),
                format_bytes(sum(layout.bytes_per_device for layout in layouts)),
            )
        )
    return make_table(
        "parameter", "dims, and the axes that split them", "per device", rows=rows, right=(2,)
    )


def _alike(params: tuple[ParamLayout, ...]) -> list[list[ParamLayout]]:
    """Parameters of one shape that lie alike, in the order of the first of them."""
    groups: dict[tuple, list[ParamLayout]] = {}
    for layout in params:
        key = (layout.shape, layout.logical_axes, layout.mesh_axes, layout.dtype)
        groups.setdefault(key, []).append(layout)
    return list(groups.values())


def memory_rows(memory: MemoryPlan) -> list[tuple[str, int]]:
    """Return the parts of the memory in words, with their bytes."""
    rows = [
        ("parameters", memory.params_bytes),
        ("optimizer state", memory.opt_state_bytes),
        ("gradients", memory.gradients_bytes),
        ("kept for the backward pass", memory.activations_bytes),
        ("at work", memory.working_bytes),
        ("together", memory.total_bytes),
    ]
    return rows + ([("on the host", memory.host_bytes)] if memory.host_bytes else [])


def _memory_table(plan: PlanFacts):
    rows = [(name, format_bytes(size)) for name, size in memory_rows(plan.memory)]
    rows += [(f"  {what}", format_bytes(size)) for what, size in plan.largest if size]
    return make_table(
        "memory of a device at its fullest; the largest arrays there",
        "",
        rows=rows,
        right=(1,),
    )


def _collectives_table(plan: PlanFacts):
    rows = [
        (
            c.kind,
            "*".join(c.mesh_axes),
            c.link,
            f"{c.count:,}",
            format_bytes(c.num_bytes),
            "" if c.seconds is None else format_seconds(c.seconds),
        )
        for c in plan.collectives
    ]
    return make_table(
        "sent per step", "axes", "link", "times", "bytes", "at least", rows=rows, right=(3, 4, 5)
    )


def _time_facts(plan: PlanFacts) -> Iterator[tuple[str, str]]:
    roofline = plan.roofline
    assert roofline is not None
    for name, seconds in roofline.seconds.items():
        yield f"{name} at its peak", format_seconds(seconds)
    yield (
        "no step is shorter than",
        (
            f"{format_seconds(roofline.step_seconds)}, bound by {roofline.bound_by}: each "
            "operation by its products or its memory, the network meanwhile"
        ),
    )
    yield (
        "that would be",
        (
            f"{format_number(round(roofline.tokens_per_second_per_device))} tokens/s per device, "
            f"{100 * roofline.mfu:.1f} % MFU"
        ),
    )
    executed = plan.executed_flops / plan.model_flops
    yield "products", f"{executed:.2f} times the model's (causal), what is recomputed included"
