"""What differs between two sets of goldens, each change told once for all configs that have it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

from axl_exp.config.delta import change_text
from axl_exp.config.diff import ApplyError, Change, Changed, Moved, apply, diff
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.golden.golden import Golden, Goldens
from axl_exp.golden.params import param_changes
from axl_exp.golden.quantity import describe_ratio, describe_value

JSON_SCHEMA = "axl_exp.golden/2"

PARAMETERS = "parameters"
MESHES = "meshes"
RENAMED = "renamed"
# In the order of what a reviewer must see first.
GROUPS: tuple[str, ...] = (*LeafClass, PARAMETERS, MESHES, RENAMED)

_SYMBOL = re.compile(r"@[\w.]+:(?P<name>[\w.]+)")


@dataclasses.dataclass(frozen=True)
class Row:
    """One change, the same in one or more configs.

    Attributes:
        group: What the change can have an effect on: a `LeafClass`; `parameters`; `meshes`, the
            hardware on which a config is reviewed; or `renamed`, functions and classes whose module
            is another one, wherever a config names them.
        text: The change as `axl_exp.config.delta` writes it, with its ratio or unit.
        where: `fuji-7B-v2`; of what a mesh rule does there, `fuji-7B-v2 on tpu-v5e-256-4`.
    """

    group: str
    text: str
    where: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FactRow:
    """What became of the facts of one or more configs: fact -> (before, after), None if absent."""

    facts: tuple[tuple[str, str | None, str | None], ...]
    where: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Everything that is different in the goldens `after`.

    Attributes:
        rows: By group, those that concern most configs first.
        facts: Those of configs before those of meshes, each beginning with those of most configs.
        added: Configs that only `after` has.
        removed: Configs that only `before` has.
        num_configs: How many configs there are on the side that has more.
    """

    rows: tuple[Row, ...]
    facts: tuple[FactRow, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    num_configs: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.facts or self.added or self.removed)

    @property
    def configs(self) -> list[str]:
        """The configs that something changes, sorted."""
        where = {w.split(" on ")[0] for row in (*self.rows, *self.facts) for w in row.where}
        return sorted({*where, *self.added, *self.removed})

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        facts = [
            {
                "where": list(row.where),
                "facts": {name: {"before": b, "after": a} for name, b, a in row.facts},
            }
            for row in self.facts
        ]
        return {"schema": JSON_SCHEMA, **dataclasses.asdict(self), "facts": facts}


def compare_goldens(before: Goldens, after: Goldens) -> Comparison:
    """Return what differs, the same change over many configs as one row."""
    where_of: dict[tuple[str, str], list[str]] = {}
    where_of_facts: dict[tuple, list[str]] = {}
    for name in sorted(before.keys() & after.keys()):
        a, b = before[name], after[name]
        if a == b:
            continue
        for group, text, where in dict.fromkeys(_rows(name, a, b)):
            where_of.setdefault((group, text), []).append(where)
        for where, facts in _fact_rows(name, a, b):
            where_of_facts.setdefault(facts, []).append(where)
    rows = [Row(group, text, tuple(where)) for (group, text), where in where_of.items()]
    facts = [FactRow(facts, tuple(where)) for facts, where in where_of_facts.items()]
    return Comparison(
        rows=tuple(sorted(rows, key=lambda r: (GROUPS.index(r.group), -len(r.where), r.where))),
        facts=tuple(sorted(facts, key=lambda r: (" on " in r.where[0], -len(r.where), r.where))),
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        num_configs=max(len(before), len(after)),
    )


def _rows(name: str, a: Golden, b: Golden) -> Iterator[tuple[str, str, str]]:
    """Group, text and place of each change of a config."""
    changes = diff(a.config, b.config)
    yield from _told(changes, name)
    # A side that is a single config text, or older than these files, says nothing of parameters.
    both_have_params = a.params and b.params
    for path in sorted(a.params.keys() | b.params.keys()) if both_have_params else ():
        old, new = a.params.get(path), b.params.get(path)
        if old is None:
            yield PARAMETERS, f"+ {path}: {new}", name
        elif new is None:
            yield PARAMETERS, f"- {path}: {old}", name
        elif old != new:
            yield PARAMETERS, f"{path}: {param_changes(old, new)}", name
    for selector in sorted(a.meshes.keys() | b.meshes.keys()):
        old, new = a.meshes.get(selector), b.meshes.get(selector)
        if old is None or new is None:
            yield MESHES, f"{'+' if old is None else '-'} {selector}", name
        elif old.changes != new.changes:
            try:
                there = diff(apply(old.changes, a.config), apply(new.changes, b.config))
            except ApplyError as error:
                yield MESHES, f"{selector}: {error}", name
                continue
            # What the config itself became is told already.
            yield from _told([c for c in there if c not in changes], f"{name} on {selector}")


def _told(changes: Iterable[Change], where: str) -> Iterator[tuple[str, str, str]]:
    for change in changes:
        path = change.after if isinstance(change, Moved) else change.path
        text = change_text(change)
        if isinstance(change, Changed):
            if _is_same_name(change.before, change.after):
                yield RENAMED, f"{change.before} -> {change.after}", where
                continue
            text += describe_ratio(path, change.before, change.after)
        yield str(leaf_class(path)), text, where


def _is_same_name(before: str, after: str) -> bool:
    """Whether two values are functions or classes of one name in two modules."""
    names = _SYMBOL.fullmatch(before), _SYMBOL.fullmatch(after)
    return names[0] is not None and names[1] is not None and names[0]["name"] == names[1]["name"]


def _fact_rows(name: str, a: Golden, b: Golden) -> Iterator[tuple[str, tuple]]:
    pairs = [(name, a.facts, b.facts)]
    for selector in sorted(a.meshes.keys() & b.meshes.keys()):
        pairs.append((f"{name} on {selector}", a.meshes[selector].facts, b.meshes[selector].facts))
    for where, old, new in pairs:
        names = [*new, *(fact for fact in old if fact not in new)]
        facts = tuple((n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n))
        if facts and old and new:
            yield where, facts


def fact_text(fact: tuple[str, str | None, str | None]) -> str:
    """Return what became of one fact in words: `params 6.61 B -> 6.70 B (+1.3 %)`."""
    name, before, after = fact
    words = name.replace("_", " ")
    if before is None:
        return f"+ {words} {describe_value(name, after or '')}"
    if after is None:
        return f"- {words} {describe_value(name, before)}"
    values = describe_value(name, before), describe_value(name, after)
    if values[0] == values[1]:
        values = before, after
    return f"{words} {values[0]} -> {values[1]}{describe_ratio(name, before, after)}"
