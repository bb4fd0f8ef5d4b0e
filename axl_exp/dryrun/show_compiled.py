"""What the compiler says of a step, in words."""

from __future__ import annotations

from axl_exp.dryrun.compiled.facts import CompiledFacts, CompiledMemory
from axl_exp.dryrun.section import Section
from axl_exp.report.text import format_bytes, format_number, format_seconds


def compiled_sections(facts: CompiledFacts) -> list[Section]:
    """Return the tables of a compiled step."""
    return [
        _memory_section(facts),
        *([_collectives_section(facts)] if facts.collectives else []),
        Section("", (f"compiled by {facts.compiler} for {facts.topology}", ""), _times(facts)),
        *([Section("", ("warnings",), [(w,) for w in facts.warnings])] if facts.warnings else []),
    ]


def compiled_verdict(memory: CompiledMemory, *, planned: int) -> str:
    """Return one line: whether the compiler finds that it fits."""
    needs = format_bytes(memory.needed_bytes)
    if memory.available_bytes is not None:
        needs += f" of {format_bytes(memory.available_bytes)}"
    words = "fits" if memory.fits else "does not fit"
    return f"{words}, says the compiler: {needs} per device (planned: {format_bytes(planned)})"


def compiled_cells(facts: CompiledFacts) -> tuple[str, ...]:
    """Return the cells of a sweep after the verdict."""
    memory, prediction = facts.memory, facts.prediction
    of = "" if memory.available_bytes is None else format_bytes(memory.available_bytes)
    if prediction is None:
        return (format_bytes(memory.needed_bytes), of, "", "", "memory")
    waits = prediction.exposed_seconds
    longest = max(waits, key=lambda link: waits[link], default="")
    is_link = waits.get(longest, 0.0) > prediction.compute_seconds
    return (
        format_bytes(memory.needed_bytes),
        of,
        format_seconds(prediction.step_seconds),
        f"{100 * prediction.mfu:.0f} %",
        longest if is_link else "compute",
    )


def _memory_section(facts: CompiledFacts) -> Section:
    memory = facts.memory
    parts = [
        ("arguments: state and batch", memory.argument_bytes),
        ("outputs that are not written over arguments", memory.output_bytes - memory.alias_bytes),
        ("temporaries", memory.temp_bytes),
        ("together", memory.needed_bytes),
    ]
    if memory.host_bytes:
        parts.append(("in the memory of the host", memory.host_bytes))
    rows = [(name, format_bytes(size)) for name, size in parts]
    rows += [(f"  {b.shape} {_short(b.owner)}", format_bytes(b.num_bytes)) for b in facts.largest]
    headers = ("memory by the compiler, and the largest buffers", "per device")
    return Section("", headers, rows, right=(1,))


def _short(owner: str) -> str:
    """What kind of state it is, and the end of its path: `params/.../linear2/weight`."""
    parts = owner.split("/")
    is_state = parts[0] in ("params", "opt_state") and len(parts) > 4
    return "/".join([parts[0], "...", *parts[-2:]]) if is_state else owner


def _collectives_section(facts: CompiledFacts) -> Section:
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for c in facts.collectives:
        figures = (f"{c.count:,}", format_bytes(c.num_bytes), format_seconds(c.seconds))
        path = (c.kind, "*".join(c.mesh_axes), c.link)
        groups.setdefault(path, []).append((*figures, c.owner))
    headers = ("times", "bytes", "on its links", "of")
    return Section(
        headers=("in the program", "along", "over", *headers),
        rows=[(*path, *cells) for path, rows in groups.items() for cells in rows],
        right=(3, 4, 5),
        narrow=[
            Section(f"in the program: {kind} along {axes} over {link}", headers, rows, (0, 1, 2))
            for (kind, axes, link), rows in groups.items()
        ],
    )


def _times(facts: CompiledFacts) -> list[tuple[str, str]]:
    rows = [("compiled", f"in {format_seconds(facts.compile_seconds)}")]
    prediction = facts.prediction
    if prediction is not None:
        computing = format_seconds(prediction.compute_seconds)
        rows.append(("computing", f"{computing}, {prediction.how}"))
        rows += [
            (f"waiting for {link}", format_seconds(seconds))
            for link, seconds in prediction.exposed_seconds.items()
        ]
        tokens = format_number(round(prediction.tokens_per_second_per_device))
        rows += [
            ("a step, predicted", format_seconds(prediction.step_seconds)),
            ("that is", f"{tokens} tokens/s per device, {100 * prediction.mfu:.1f} % MFU"),
        ]
    again = 100 * facts.rematerialised_share
    rows.append(("computed again", f"{again:.0f} % of the products that are executed"))
    if facts.offload_bytes:
        rows.append(("to the host and back", format_bytes(facts.offload_bytes)))
    return rows
