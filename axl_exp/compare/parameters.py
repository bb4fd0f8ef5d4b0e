"""The parameters of two sides, matched under renaming: shapes, dtypes, shardings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from axl_exp.compare.load import Run

_WRAPPERS = ("params", "value")  # What Linen puts in front of a path and NNX behind it.


@dataclass(frozen=True)
class ParameterChange:
    """A parameter that is not the same on both sides.

    Attributes:
        what: added, removed, renamed, or the fact that changed: shape, logical, physical.
        a, b: The path for what was added, removed or renamed; else the fact. Empty for nothing.
    """

    what: str
    path: str
    a: str
    b: str


@dataclass(frozen=True)
class ParameterComparison:
    """Attributes:
    num_a, num_b: How many each side tells; 0 where it tells none.
    num_matched: Pairs that are one parameter.
    is_wrapped: Whether paths were matched without what wraps them (`params/`, `/value`).
    changes: What differs, by path; layouts of activations that both sides tell are among it.
    untold: Facts that one side tells of no parameter, so that they are not compared.
    """

    num_a: int
    num_b: int
    num_matched: int
    is_wrapped: bool
    changes: list[ParameterChange]
    untold: list[str]

    @property
    def told(self) -> str:
        """How many have a partner and what differs, in words; empty where a side tells of none."""
        if not (self.num_a and self.num_b):
            return ""
        told = f"{self.num_matched} of {self.num_a} and {self.num_b} are on both sides"
        told += ", under the names of two libraries" if self.is_wrapped else ""
        told += f"; {len(self.changes)} differences" if self.changes else "; nothing differs"
        if self.untold:
            told += f"; not compared, since a side does not tell: {', '.join(self.untold)}"
        return told


def compare_parameters(a: Run, b: Run) -> ParameterComparison:
    """Return which parameters of B are not those of A; empty lists where a side tells none."""
    told = a.parameters, b.parameters
    if not all(told):
        return ParameterComparison(len(told[0]), len(told[1]), 0, False, [], [])
    by_name = [{_canonical(path): path for path in side} for side in told]
    pairs = [(by_name[0][name], by_name[1][name]) for name in by_name[0] if name in by_name[1]]
    rest_a = [path for name, path in by_name[0].items() if name not in by_name[1]]
    rest_b = [path for name, path in by_name[1].items() if name not in by_name[0]]
    renamed = _renamed(rest_a, rest_b, *told)
    changes = [ParameterChange("renamed", before, before, after) for before, after in renamed]
    moved_a, moved_b = {before for before, _ in renamed}, {after for _, after in renamed}
    changes += [ParameterChange("removed", p, p, "") for p in rest_a if p not in moved_a]
    changes += [ParameterChange("added", p, "", p) for p in rest_b if p not in moved_b]
    facts = sorted({fact for side in told for of in side.values() for fact in of})
    untold = [f for f in facts if any(not any(of.get(f) for of in side.values()) for side in told)]
    for before, after in (*pairs, *renamed):
        of_a, of_b = told[0][before], told[1][after]
        for fact in facts:
            if fact not in untold and of_a.get(fact, "") != of_b.get(fact, ""):
                change = ParameterChange(fact, before, of_a.get(fact, ""), of_b.get(fact, ""))
                changes.append(change)
    changes += _layout_changes(a, b)
    is_wrapped = any(before != after for before, after in pairs)
    num_matched = len(pairs) + len(renamed)
    return ParameterComparison(
        *(len(side) for side in told),
        num_matched=num_matched,
        is_wrapped=is_wrapped,
        changes=sorted(changes, key=lambda change: change.path),
        untold=untold,
    )


def _layout_changes(a: Run, b: Run) -> list[ParameterChange]:
    """Return which activations of one name are laid out otherwise; libraries name others apart."""
    of_a, of_b = (run.log.activations if run.log else {} for run in (a, b))
    return [
        ParameterChange(f"activation, {fact}", name, told, of_b[name][fact])
        for name, facts in of_a.items()
        if name in of_b
        for fact, told in facts.items()
        if fact in of_b[name] and told != of_b[name][fact]
    ]


def _canonical(path: str) -> str:
    """Return the path without what wraps it: `params/params/x/kernel` and `x/kernel/value`."""
    parts = path.strip("/").split("/")
    while len(parts) > 1 and parts[0] == _WRAPPERS[0]:
        parts = parts[1:]
    if len(parts) > 1 and parts[-1] == _WRAPPERS[1]:
        parts = parts[:-1]
    return "/".join(parts)


def _renamed(
    rest_a: list[str],
    rest_b: list[str],
    facts_a: Mapping[str, Mapping[str, str]],
    facts_b: Mapping[str, Mapping[str, str]],
) -> list[tuple[str, str]]:
    """Return the pairs that are alone on both sides with their shape and last name."""
    groups: dict[tuple[str, str], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for index, (rest, facts) in enumerate(((rest_a, facts_a), (rest_b, facts_b))):
        for path in rest:
            if shape := facts[path].get("shape"):
                last = _canonical(path).rpartition("/")[2]
                groups[shape, last][index].append(path)
    return [(a[0], b[0]) for a, b in groups.values() if len(a) == len(b) == 1]
