"""What a search found, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axl_exp.dryrun.search.rule_text import file_of, rule_text
from axl_exp.dryrun.search.search import HEADROOM, Answer, Found
from axl_exp.dryrun.section import Section
from axl_exp.mesh import describe_mesh_shape, parse_selector
from axl_exp.report.text import format_bytes, format_seconds

_HEADERS = ("", "mesh", "layers", "parts", "needs", "step", "MFU")


def section_of(answer: Answer) -> Section:
    """Return the table of what was found, today's rule first."""
    rows = [_cells("today", answer.today)] if answer.today else []
    rows += [_cells(str(i), each) for i, each in enumerate(answer.found, start=1)]
    return Section(
        before=f"{answer.config} on {answer.selector}: {answer.num_planned} settings planned",
        headers=_HEADERS,
        rows=rows,
        right=(3, 4, 5, 6),
        after=gain(answer),
    )


def gain(answer: Answer) -> str:
    """Return one line: what the best of the search gains over today's rule."""
    best, today = answer.best, answer.today
    if best is None:
        return f"Nothing fits with {100 * HEADROOM:.0f} % to spare: take more or larger chips."
    by = "by the compiler" if answer.level == "compile" else "by plan"
    if today is None:
        return f"Today there is no rule that does: {answer.why_not_today}"
    if today.settings == best.settings:
        return f"Today's rule is the best of them, {by}."
    if today.error:
        return f"Today's rule cannot be compiled: {today.error}"
    if not today.fits:
        return f"Today's rule does not fit, {by}; the best takes {_seconds(best)} a step."
    change = best.step_seconds / today.step_seconds - 1
    memory = f"{format_bytes(today.needed_bytes)} -> {format_bytes(best.needed_bytes)}"
    if change >= 0:
        return f"Nothing is faster than today's rule, {by}: {_seconds(today)} a step."
    steps = f"{_seconds(today)} -> {_seconds(best)}"
    return f"Over today's rule, {by}: step {steps} ({100 * change:+.1f} %), memory {memory}."


def paste_text(answer: Answer) -> str:
    """Return the rule of the best; empty where nothing fits or today's rule is as good."""
    best, today = answer.best, answer.today
    if best is None or (today and today.fits and today.step_seconds <= best.step_seconds):
        return ""
    by = "compiler" if answer.level == "compile" else "plan"
    comment = f"Not published. By {by}: {_seconds(best)} a step, {_needs(best)}."
    return rule_text(best.rule, comment=comment)


def where_to_paste(answer: Answer) -> str:
    """Return the file, the rule that it is chosen before, and what to do then."""
    today = f" (today: {answer.today.rule.defined_at})" if answer.today else ""
    file = file_of(parse_selector(answer.selector))
    return (
        f"To be the first of RULES in {file}{today}, with what it names from axl_exp.mesh;\n"
        "then `python -m axl_exp.golden update`:"
    )


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return the answer as plain JSON values."""
    return {
        "config": answer.config,
        "selector": answer.selector,
        "level": answer.level,
        "num_planned": answer.num_planned,
        "today": _json(answer.today) if answer.today else None,
        "found": [_json(each) for each in answer.found],
        "gain": gain(answer),
        "rule": paste_text(answer),
    }


def _cells(name: str, found: Found) -> tuple[str, ...]:
    settings = found.settings
    told = found.error or ("" if found.fits else "does not fit")
    return (
        name,
        describe_mesh_shape(settings.mesh),
        settings.remat.name if settings.remat else "everything kept",
        str(settings.accumulation_steps),
        _needs(found),
        told or _seconds(found),
        "" if told else f"{100 * found.mfu:.0f} %",
    )


def _needs(found: Found) -> str:
    available = found.run.plan.memory.available_bytes
    return format_bytes(found.needed_bytes) + (
        f" of {format_bytes(available)}" if available is not None else ""
    )


def _seconds(found: Found) -> str:
    return format_seconds(found.step_seconds)


def _json(found: Found) -> dict[str, Any]:
    settings, plan = found.settings, found.run.plan
    return {
        "mesh": describe_mesh_shape(settings.mesh),
        "remat": dict(_remat(found)),
        "accumulation_steps": settings.accumulation_steps,
        "fits": found.fits,
        "error": found.error,
        "step_seconds": found.step_seconds,
        "mfu": found.mfu,
        "needed_bytes": found.needed_bytes,
        "available_bytes": plan.memory.available_bytes,
        "host_bytes": plan.memory.host_bytes,
        "seconds": plan.roofline.seconds if plan.roofline else None,
        "rule": found.rule.defined_at,
    }


def _remat(found: Found) -> Iterator[tuple[str, str]]:
    remat = found.settings.remat
    if remat is not None:
        yield from (("name", remat.name), ("save", remat.save), ("offload", remat.offload))
