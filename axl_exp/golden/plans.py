"""What the plan of a dry run says of a config on a hardware, as facts of its golden.

A plan traces the step, which takes a third of a second: too long for all of them at each check. So
the recorded facts stand until something that the plan is made from differs, or until all are asked
for anew, after a change of the code that is traced.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from axl_exp.config.diff import ApplyError, apply
from axl_exp.golden.golden import Golden, GoldenError, Goldens
from axl_exp.report.text import format_bytes

if TYPE_CHECKING:  # A trainer to import, which is a fifth of a check that makes no plan.
    from axl_exp.dryrun.facts import PlanFacts
    from axl_exp.dryrun.sweep import Row

_PREFIX = "planned_"
# What of a config its step is traced from.
_TRACED = re.compile(
    r"(model|learner|mesh_shape)\..*|klass|mesh_shape|train_dtype|seed|accumulation_steps"
    r"|input\.(global_batch_size|max_sequence_length)"
)
# Communication of less than this share of the most is of single numbers.
_LEAST_SHARE = 1e-3

Pair = tuple[str, str]
"""A config and a selector."""
Sweep = Callable[[Sequence[Pair]], "Iterable[Row]"]
"""Dry runs of the pairs, in any order."""


def with_plans(
    goldens: Goldens,
    *,
    before: Goldens,
    names: Collection[str],
    anew: bool,
    sweep: Sweep,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Goldens:
    """Return `goldens` with the facts of plans, those of `before` where they stand.

    Args:
        goldens: As configs are now, without plans.
        before: As they are recorded.
        names: The configs of which plans are made where one is wanted.
        anew: Whether one is wanted of each, else of those whose traced fields differ.
        sweep: Makes the plans.
        on_progress: Told how many plans of how many are made.

    Raises:
        GoldenError: A config does not lie on its mesh.
    """
    facts: dict[Pair, Mapping[str, str]] = {}
    wanted: list[Pair] = []
    for name, golden in goldens.items():
        for selector in golden.meshes:
            if selector.startswith("cpu-"):
                continue
            facts[name, selector] = _recorded(before.get(name), selector)
            stands = facts[name, selector] and not anew
            if name in names and not (stands and _same(before[name], golden, selector)):
                wanted.append((name, selector))
    for i, row in enumerate(sweep(wanted) if wanted else ()):
        on_progress(i, len(wanted))
        if row.run is None:
            raise GoldenError(f"{row.config} on {row.selector}: {row.error}")
        facts[row.config, row.selector] = plan_facts(row.run.plan)
    return {
        name: dataclasses.replace(
            golden,
            meshes={
                selector: dataclasses.replace(
                    mesh, facts={**mesh.facts, **facts.get((name, selector), {})}
                )
                for selector, mesh in golden.meshes.items()
            },
        )
        for name, golden in goldens.items()
    }


def plan_facts(plan: PlanFacts) -> dict[str, str]:
    """Return what of a plan is reviewed, to three digits; each is of one device and one step."""
    memory, roofline = plan.memory, plan.roofline
    facts = {
        "memory_bytes": _three_digits(memory.total_bytes),
        "activations_bytes": _three_digits(memory.activations_bytes + memory.working_bytes),
    }
    if memory.host_bytes:
        facts["host_bytes"] = _three_digits(memory.host_bytes)
    if memory.available_bytes:
        spare = 100 * (1 - memory.total_bytes / memory.available_bytes)
        facts["spare_percent"] = f"{spare:.0f}"
    if roofline is not None:
        facts["step_seconds"] = f"{roofline.step_seconds:.3g}"
        facts["bound_by"] = roofline.bound_by
    sent: dict[str, tuple[int, int, list[str]]] = {}
    for c in plan.collectives:
        _, _, links = sent.get(key := f"{c.kind}_over_{'-'.join(c.mesh_axes)}", (0, 0, []))
        sent[key] = c.count, c.num_bytes, sorted([*links, c.link])
    most = max((num_bytes for _, num_bytes, _ in sent.values()), default=0)
    for key, (count, num_bytes, links) in sent.items():
        if num_bytes >= _LEAST_SHARE * most:
            facts[key] = f"{count:,} times, {format_bytes(num_bytes)} by {' and '.join(links)}"
    return _in_order({_PREFIX + name: text for name, text in facts.items()})


def num_plans(goldens: Goldens) -> int:
    """Return of how many configs on a hardware there are facts of plans."""
    return sum(bool(_recorded(g, selector)) for g in goldens.values() for selector in g.meshes)


def _recorded(golden: Golden | None, selector: str) -> dict[str, str]:
    mesh = golden.meshes.get(selector) if golden else None
    facts = mesh.facts.items() if mesh else ()
    return _in_order({name: text for name, text in facts if name.startswith(_PREFIX)})


def _in_order(facts: Mapping[str, str]) -> dict[str, str]:
    """The same order whether they are made or read: a variant is read as its base and what differs.

    What is sent comes last, by name.
    """
    return dict(sorted(facts.items(), key=lambda fact: ("_over_" in fact[0], fact[0])))


def _same(before: Golden, after: Golden, selector: str) -> bool:
    """Whether two goldens are of one step on a hardware."""
    if before.config == after.config:
        return before.meshes[selector].changes == after.meshes[selector].changes
    return _traced(before, selector) == _traced(after, selector)


def _traced(golden: Golden, selector: str) -> dict[str, str]:
    try:
        texts = apply(golden.meshes[selector].changes, golden.config)
    except ApplyError:  # Edited by hand: it is told as different anyway.
        return {}
    return {path: text for path, text in texts.items() if _TRACED.fullmatch(path)}


def _three_digits(number: float) -> str:
    return f"{int(float(f'{number:.3g}')):,}"
