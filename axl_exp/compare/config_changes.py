"""What changed between two configs, leaf by leaf, and what each leaf can have an effect on."""

from __future__ import annotations

from dataclasses import dataclass

from axl_exp.config.diff import Added, Change, Changed, Moved, Removed, diff
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.config.parse import FlatConfig


@dataclass(frozen=True)
class ConfigChange:
    """One change from A's config to B's.

    Attributes:
        intent: added, removed, changed, moved or reordered.
        path: The leaf; of a move, where it is in B.
        before: In A: a value's text, of a move the path; None for an added leaf.
        after: In B, likewise; None for a removed leaf.
    """

    intent: str
    path: str
    before: str | None
    after: str | None
    leaf_class: LeafClass


def config_changes(a: FlatConfig | None, b: FlatConfig | None) -> list[ConfigChange]:
    """Return the changes from `a` to `b`; none where either config is missing."""
    if a is None or b is None:
        return []
    return [_told(change) for change in diff(a, b)]


def _told(change: Change) -> ConfigChange:
    match change:
        case Added(path, after):
            return ConfigChange("added", path, None, after, leaf_class(path))
        case Removed(path, before):
            return ConfigChange("removed", path, before, None, leaf_class(path))
        case Changed(path, before, after):
            return ConfigChange("changed", path, before, after, leaf_class(path))
        case Moved(before, after):
            return ConfigChange("moved", after, before, after, leaf_class(after))
        case _:
            before, after = ", ".join(change.before), ", ".join(change.after)
            return ConfigChange("reordered", change.path, before, after, leaf_class(change.path))
