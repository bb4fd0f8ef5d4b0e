"""A comparison, or several against one side, as the HTML of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axl_exp.compare import words
from axl_exp.compare.comparison import Comparison
from axl_exp.compare.environment import Difference, by_kind, counts_told, grouped
from axl_exp.compare.load import Run, named_runs
from axl_exp.compare.page.charts import charts_of
from axl_exp.compare.page.gantt import gantt_of
from axl_exp.compare.page.links import Links, links_of
from axl_exp.compare.page.logs import LogText, log_text
from axl_exp.compare.page.rows import config_groups, effect_of, time_bars
from axl_exp.compare.theirs import Theirs
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
    icon, style = words.LOOKS[c.verdict.state]
    links = links_of(c, prefix=prefix)
    time = words.time_with_total(c.time)
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
        "validity": counts_told(c.differences),
        "by_kind": by_kind(c.differences),
        "environment": _environment(c.differences, links),
        "metrics": list(zip(words.metric_rows(c.metrics), map(effect_of, c.metrics), strict=True)),
        "noise": words.noise_told(c.metrics),
        "charts": charts_of(c, prefix=prefix),
        "losses_told": words.losses_told(c),
        "loss_facts": words.loss_facts(c),
        "time": list(zip(map(words.time_row, time), time_bars(time), strict=True)),
        "theirs": c.theirs and _theirs(c.theirs),
        "checks": [(check, words.check_told(check)) for check in c.checks],
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
        "config_told": words.config_told(c),
        "config": config_groups(c.changes),
        "parameters": c.parameters,
        "links": links,
        "logs": _logs(c, prefix=prefix),
    }


def _environment(
    differences: Sequence[Difference], links: Links
) -> list[tuple[str, list[tuple[Difference, str | None]]]]:
    """Return the differences by group, each with its id; a name that stands twice has one."""
    ids = dict(links.facts)
    return [
        (group, [(d, ids.pop(d.what, None)) for d in found])
        for group, found in grouped(differences)
    ]


def _theirs(theirs: Theirs) -> dict[str, Any]:
    figures = [(f, [*map(words.their_value, (f.a, f.b, f.diff))]) for f in theirs.figures]
    return {"figures": figures, "lines": words.theirs_lines(theirs)}


def _logs(c: Comparison, *, prefix: str) -> list[LogText]:
    runs = [*named_runs("A", c.runs_a), *named_runs("B", c.runs_b)]
    found = [log_text(name, run, name=f"{prefix}log-{name}") for name, run in runs]
    return [text for text in found if text is not None]


def _cards(side: str, runs: Sequence[Run]) -> list[RunCard]:
    return [
        RunCard(name, str(run.run_dir.path), words.run_facts(run))
        for name, run in named_runs(side, runs)
    ]
