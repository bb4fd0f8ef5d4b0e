"""Links between what changed and what it explains, both ways."""

from __future__ import annotations

from dataclasses import dataclass

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.explain import Explanation


@dataclass(frozen=True)
class Link:
    """A name, and where on the page it stands."""

    name: str
    href: str


@dataclass(frozen=True)
class Explained:
    """What can explain one change: links to the leaves and facts; without any, the words."""

    told: str
    links: list[Link]


@dataclass(frozen=True)
class Links:
    """Where everything stands, and what leads to it.

    Attributes:
        leaves: Path of a config leaf that changed -> id of its row.
        facts: Difference of the environments -> id of its row.
        metrics: Name of a metric -> id of its row.
        of_metric: Name of a metric -> what can explain its change.
        of_losses: What can explain that the losses differ; None where they do not.
        of_cause: Leaf or fact -> what it can explain.
    """

    leaves: dict[str, str]
    facts: dict[str, str]
    metrics: dict[str, str]
    of_metric: dict[str, Explained]
    of_losses: Explained | None
    of_cause: dict[str, list[Link]]


def links_of(c: Comparison, *, prefix: str) -> Links:
    """Return the links of one comparison; `prefix` keeps its ids apart from those of others."""
    leaves = {change.path: f"{prefix}leaf-{k}" for k, change in enumerate(c.changes)}
    facts = {d.what: f"{prefix}fact-{k}" for k, d in enumerate(c.differences)}
    metrics = {m.name: f"{prefix}metric-{k}" for k, m in enumerate(c.metrics)}
    places = facts | leaves
    of_cause: dict[str, list[Link]] = {}

    def explained(e: Explanation, effect: Link) -> Explained:
        causes = [cause for cause in (*e.leaves, *e.facts) if cause in places]
        for cause in causes:
            of_cause.setdefault(cause, []).append(effect)
        return Explained(e.told, [Link(cause, places[cause]) for cause in causes])

    return Links(
        leaves=leaves,
        facts=facts,
        metrics=metrics,
        of_metric={
            e.metric: explained(e, Link(e.metric, metrics[e.metric])) for e in c.explanations
        },
        of_losses=c.losses_explained
        and explained(c.losses_explained, Link("where the losses part", f"{prefix}losses")),
        of_cause=of_cause,
    )
