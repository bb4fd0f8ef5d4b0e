"""A comparison, or several against one side, as the HTML of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.load import Run
from axl_exp.compare.page.charts import charts_of
from axl_exp.compare.page.gantt import gantt_of
from axl_exp.compare.page.links import links_of
from axl_exp.compare.page.logs import LogText, log_text
from axl_exp.compare.page.rows import (
    LOOKS,
    config_groups,
    loss_facts,
    metric_rows,
    time_rows,
)
from axl_exp.compare.validity import Kind
from axl_exp.report.html.page import Navigation, render_page

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunCard:
    """Who one run is."""

    name: str
    path: str
    facts: list[tuple[str, str]]


def render_comparisons(
    comparisons: Sequence[Comparison],
    *,
    title: str | None = None,
    navigation: Navigation | None = None,
) -> str:
    """Return the HTML of one self-contained page.

    Args:
        comparisons: One, or several with the same first side, one below the other.
        title: The page's name; by default the names of the sides.
        navigation: Links to the pages beside this one, such as those of a suite.
    """
    told = [_values(c, prefix=f"c{k}-") for k, c in enumerate(comparisons, start=1)]
    names = [comparisons[0].side_a.name, *(c.side_b.name for c in comparisons)]
    return render_page(
        "comparison.html.j2",
        templates=_TEMPLATES,
        title=title or " against ".join((", ".join(names[1:]), names[0])),
        navigation=navigation,
        comparisons=told,
    )


def _values(c: Comparison, *, prefix: str) -> dict[str, Any]:
    icon, style = LOOKS[c.verdict.state]
    counts = {kind: sum(d.kind is kind for d in c.differences) for kind in Kind}
    validity = ", ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in counts.items() if n)
    return {
        "prefix": prefix,
        "side_a": c.side_a.name,
        "side_b": c.side_b.name,
        "icon": icon,
        "style": style,
        "state": str(c.verdict.state),
        "headline": c.verdict.headline,
        "cards": [*_cards("A", c.runs_a), *_cards("B", c.runs_b)],
        "notes": c.notes,
        "validity": validity or "the environments are the same",
        "differences": c.differences,
        "metrics": list(metric_rows(c.metrics)),
        "charts": charts_of(c, prefix=prefix),
        "losses": c.losses,
        "loss_facts": loss_facts(c),
        "time": time_rows(c.time),
        "theirs": c.theirs,
        "checks": c.checks,
        "memory_lines": [
            (side, line)
            for side, run in (("A", c.a), ("B", c.b))
            for line in (run.log.memory if run.log is not None else [])
        ],
        "gantts": [
            gantt
            for side, run in (("A", c.a), ("B", c.b))
            if run.log is not None and (gantt := gantt_of(side, run.log)) is not None
        ],
        "has_configs": c.a.config is not None and c.b.config is not None,
        "num_leaves": len(c.a.config) if c.a.config is not None else 0,
        "config": config_groups(c.changes),
        "parameters": c.parameters,
        "links": links_of(c, prefix=prefix),
        "logs": _logs(c, prefix=prefix),
    }


def _logs(c: Comparison, *, prefix: str) -> list[LogText]:
    found = []
    for side, runs in (("A", c.runs_a), ("B", c.runs_b)):
        for number, run in enumerate(runs, start=1):
            name = side if len(runs) == 1 else f"{side}{number}"
            found.append(log_text(name, run, name=f"{prefix}log-{name}"))
    return [text for text in found if text is not None]


def _cards(side: str, runs: Sequence[Run]) -> list[RunCard]:
    cards = []
    for number, run in enumerate(runs, start=1):
        git = run.env.get("git") or {}
        commit = str(git.get("commit") or "unknown")[:10] + (" dirty" if git.get("dirty") else "")
        versions = run.env.get("versions") or {}
        hardware = run.env.get("hardware") or {}
        facts = [
            ("config", run.config_name),
            ("status", run.status),
            ("commit", commit),
            ("JAX", str(versions.get("jax", "unknown"))),
            (
                "devices",
                f"{hardware.get('device_count', '?')} × {hardware.get('device_kind', '?')}",
            ),
            ("seed", str(run.env.get("seed", "unknown"))),
        ]
        name = side if len(runs) == 1 else f"{side}{number}"
        cards.append(RunCard(name, str(run.run_dir.path), facts))
    return cards
