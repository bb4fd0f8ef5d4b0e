"""What changed -> what it explains: leaves and facts that can be behind a change of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axl_exp.compare.config_changes import ConfigChange
from axl_exp.compare.environment import Difference, Kind
from axl_exp.compare.load import Run
from axl_exp.compare.losses import LossComparison
from axl_exp.compare.verdict import MetricResult, State
from axl_exp.config.leaf_class import LeafClass

# What can move a loss comes first; the rest can through the order of reductions alone.
_MOVES_A_LOSS = (LeafClass.NUMERICS, LeafClass.OPTIMIZER, LeafClass.DATA, LeafClass.PARALLELISM)
# What an optimizer does to a step's time and memory is little but real.
_MOVES_SPEED = (LeafClass.PARALLELISM, LeafClass.NUMERICS, LeafClass.DATA, LeafClass.OPTIMIZER)


@dataclass(frozen=True)
class Explanation:
    """What can explain the change of one metric.

    Attributes:
        metric: Its name.
        leaves: Config leaves, those most likely first; leaves that only write files never are.
        facts: Of the environments.
        told: In words; says so where nothing can explain it.
    """

    metric: str
    leaves: list[str]
    facts: list[str]
    told: str


def explanations(
    a: Run,
    b: Run,
    *,
    metrics: Sequence[MetricResult],
    changes: Sequence[ConfigChange],
    differences: Sequence[Difference],
) -> list[Explanation]:
    """Return one explanation for every metric that became better or worse."""
    return [
        _explain(a, b, metric.name, "loss" in metric.key, changes, differences)
        for metric in metrics
        if metric.state in (State.BETTER, State.WORSE) and not metric.follows
    ]


def explain_losses(
    a: Run,
    b: Run,
    losses: LossComparison,
    changes: Sequence[ConfigChange],
    differences: Sequence[Difference],
) -> Explanation | None:
    """Return what can explain that the losses differ; None where they do not."""
    if losses.parting is None:
        return None
    return _explain(a, b, "losses", True, changes, differences)


def _explain(
    a: Run,
    b: Run,
    metric: str,
    is_loss: bool,
    changes: Sequence[ConfigChange],
    differences: Sequence[Difference],
) -> Explanation:
    order = _MOVES_A_LOSS if is_loss else _MOVES_SPEED
    able = [change for change in changes if change.leaf_class in order]
    leaves = [change.path for change in sorted(able, key=lambda c: order.index(c.leaf_class))]
    facts = [d.what for d in differences if d.kind is not Kind.HARMLESS and d.what != "config"]
    if leaves or facts:
        told = f"can be explained by {', '.join([*leaves, *facts])}"
    elif a.config is None or b.config is None:
        told = "unexplained: a side has no config.txt, so the configs cannot be compared"
    else:
        what = "a loss" if is_loss else "it"
        told = f"unexplained: no config leaf that can change {what} and no environment fact differs"
    return Explanation(metric, leaves, facts, told)
