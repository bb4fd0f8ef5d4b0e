"""Dry runs in words: the sections of one, and the table of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from axl_exp.dryrun.dry_run import DryRun
from axl_exp.dryrun.facts import MemoryPlan, ParamLayout, PlanFacts
from axl_exp.dryrun.section import Section
from axl_exp.dryrun.show_compiled import (
    compiled_cells,
    compiled_sections,
    compiled_verdict,
)
from axl_exp.dryrun.sweep import Row
from axl_exp.report.text import format_bytes, format_number, format_seconds


def sections_of(run: DryRun) -> list[Section]:
    """Return everything that `run` tells; parameters that lie alike share a line."""
    plan = run.plan
    sections = [
        Section(f"{run.config} on {run.selector}", ("", ""), list(_facts(run))),
        _params_section(plan),
        _memory_section(plan),
    ]
    if plan.collectives:
        sections.append(_collectives_section(plan))
    if plan.roofline is not None:
        sections.append(Section("", ("time, everything at its peak", ""), list(_times(plan))))
    if run.compiled is not None:
        sections += compiled_sections(run.compiled)
    return [*sections, Section(after=verdict(run))]


def verdict(run: DryRun) -> str:
    """Return one line: whether it fits, and with how much to spare."""
    memory = run.plan.memory
    if run.compiled is not None:
        host_bytes = run.compiled.memory.host_bytes
        if run.compiled.fits and not memory.host_holds(host_bytes):
            return f"does not fit: {_on_host(memory, host_bytes)}, says the compiler"
        return compiled_verdict(run.compiled.memory, planned=memory.total_bytes)
    needs = format_bytes(memory.total_bytes)
    if memory.available_bytes is None:
        return f"needs {needs} per device, by plan"
    of = f"{needs} of {format_bytes(memory.available_bytes)} per device"
    if not memory.fits:
        is_host = memory.total_bytes <= memory.available_bytes
        what = _on_host(memory, memory.host_bytes) if is_host else of
        return f"does not fit: {what}, by plan"
    spare = 100 * (1 - memory.total_bytes / memory.available_bytes)
    return f"fits: {of}, {spare:.0f} % to spare, by plan"


def _on_host(memory: MemoryPlan, num_bytes: int) -> str:
    return f"{_of_host(memory, num_bytes)} per device in the memory of the host"


def _of_host(memory: MemoryPlan, num_bytes: int) -> str:
    available = memory.host_available_bytes
    of = f" of {format_bytes(available)}" if available is not None else ""
    return format_bytes(num_bytes) + of


def _facts(run: DryRun) -> Iterator[tuple[str, str]]:
    plan = run.plan
    rows, positions = plan.batch
    here = plan.batch_per_device
    more = f": {plan.num_devices:,} devices" if plan.num_devices > 1 else ""
    yield "mesh", plan.mesh + more
    yield "batch", f"{rows:,} x {positions:,} tokens, {here[0]:,} x {here[1]:,} per device"
    if plan.accumulation_steps > 1:
        yield "accumulation", f"in {plan.accumulation_steps} parts"
    yield "rule", run.rule


def _params_section(plan: PlanFacts) -> Section:
    rows = []
    for layouts in _alike(plan.params):
        first = layouts[0]
        more = f" and {len(layouts) - 1} more" if len(layouts) > 1 else ""
        dims = zip(first.logical_axes, first.shape, first.mesh_axes, strict=True)
        rows.append(
            (
                f"{_short(first.path)}{more}",
                " ".join(
                    f"{name}={size}" + (f"/{'*'.join(axes)}" if axes else "")
                    for name, size, axes in dims
                ),
                format_bytes(sum(layout.bytes_per_device for layout in layouts)),
            )
        )
    headers = ("parameter", "dims, and the axes that split them", "per device")
    return Section("", headers, rows, right=(2,))


def _short(path: str) -> str:
    """The end of a path, which says what a parameter is: `linear2/weight`."""
    return "/".join(path.split("/")[-2:])


def _alike(params: tuple[ParamLayout, ...]) -> list[list[ParamLayout]]:
    """Parameters of one shape that lie alike, in the order of the first of them."""
    groups: dict[tuple, list[ParamLayout]] = {}
    for layout in params:
        key = (layout.shape, layout.logical_axes, layout.mesh_axes, layout.dtype)
        groups.setdefault(key, []).append(layout)
    return list(groups.values())


def _memory_section(plan: PlanFacts) -> Section:
    memory = plan.memory
    parts = [
        ("parameters", memory.params_bytes),
        ("optimizer state", memory.opt_state_bytes),
        ("gradients", memory.gradients_bytes),
        ("kept for the backward pass", memory.activations_bytes),
        ("at work", memory.working_bytes),
    ]
    if memory.fetched_ahead_bytes:
        parts.append(("fetched ahead, since there is room", memory.fetched_ahead_bytes))
    rows = [(name, format_bytes(size)) for name, size in parts]
    if memory.on_chip_bytes:
        rows.append(("of that on the chip itself", f"-{format_bytes(memory.on_chip_bytes)}"))
    rows.append(("together", format_bytes(memory.total_bytes)))
    if memory.host_bytes:
        rows.append(("in the memory of the host", _of_host(memory, memory.host_bytes)))
    rows += [(f"  {what}", format_bytes(size)) for what, size in plan.largest]
    headers = ("memory at its fullest; arrays by their whole shapes", "per device")
    return Section("", headers, rows, right=(1,))


def _collectives_section(plan: PlanFacts) -> Section:
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
    headers = ("sent per step", "along", "over", "times", "bytes", "at least")
    return Section("", headers, rows, right=(3, 4, 5))


def _times(plan: PlanFacts) -> Iterator[tuple[str, str]]:
    roofline = plan.roofline
    assert roofline is not None
    for name, seconds in roofline.seconds.items():
        yield name, format_seconds(seconds)
    step = format_seconds(roofline.step_seconds)
    yield "a step, at least", f"{step}, bound by {roofline.bound_by}"
    tokens = format_number(round(roofline.tokens_per_second_per_device))
    yield "that is", f"{tokens} tokens/s per device, {100 * roofline.mfu:.1f} % MFU"
    executed = plan.executed_flops / plan.model_flops
    yield "products", f"{executed:.2f} times the model's (causal), what is computed again included"


_SWEEP_HEADERS = ("config", "hardware", "verdict", "needs", "of", "step", "MFU", "bound by")


def section_of_rows(rows: Sequence[Row]) -> Section:
    """Return the table of a sweep, and how many fit."""
    counts = {v: sum(row.verdict == v for row in rows) for v in ("fits", "does not fit", "error")}
    told = [f"{counts['fits']} of {len(rows)} fit"]
    told += [f"{counts['does not fit']} do not"] if counts["does not fit"] else []
    told += [f"{counts['error']} cannot be laid out"] if counts["error"] else []
    by_config: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        by_config.setdefault(row.config, []).append(_sweep_cells(row))
    after = ", ".join(told) + ". Bytes are per device; no step is shorter than its time here."
    return Section(
        headers=_SWEEP_HEADERS,
        rows=[cells for of_config in by_config.values() for cells in of_config],
        right=(3, 4, 5, 6),
        after=after,
        narrow=[
            *(
                Section(name, _SWEEP_HEADERS[1:], [cells[1:] for cells in rows], (2, 3, 4, 5))
                for name, rows in by_config.items()
            ),
            Section(after=after),
        ],
    )


def _sweep_cells(row: Row) -> tuple[str, ...]:
    """The texts of one row; what is not known is empty."""
    if row.run is None:
        told = f"the smallest that does: {row.smallest}" if row.smallest else row.error
        return (row.config, row.selector, row.verdict, "", "", "", "", told)
    if row.run.compiled is not None:
        return (row.config, row.selector, row.verdict, *compiled_cells(row.run.compiled))
    memory, roofline = row.run.plan.memory, row.run.plan.roofline
    return (
        row.config,
        row.selector,
        row.verdict,
        format_bytes(memory.total_bytes),
        "" if memory.available_bytes is None else format_bytes(memory.available_bytes),
        "" if roofline is None else format_seconds(roofline.step_seconds),
        "" if roofline is None else f"{100 * roofline.mfu:.0f} %",
        "" if roofline is None else roofline.bound_by,
    )
