"""What changed between two configs, leaf by leaf, and what each leaf can have an effect on."""

from __future__ import annotations

from collections.abc import Callable
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


def config_changes(
    a: FlatConfig | None,
    b: FlatConfig | None,
    *,
    classify: Callable[[str], LeafClass] = leaf_class,
) -> list[ConfigChange]:
    """Return the changes from `a` to `b`; none where either config is missing.

    Args:
        classify: path -> class; that of our trainer configs, or of other trainers' arguments.
    """
    if a is None or b is None:
        return []
    return [_told(change, classify) for change in diff(a, b)]


def _told(change: Change, classify: Callable[[str], LeafClass]) -> ConfigChange:
    match change:
        case Added(path, after):
            return ConfigChange("added", path, None, after, classify(path))
        case Removed(path, before):
            return ConfigChange("removed", path, before, None, classify(path))
        case Changed(path, before, after):
            return ConfigChange("changed", path, before, after, classify(path))
        case Moved(before, after):
            return ConfigChange("moved", after, before, after, classify(after))
        case _:
            before, after = ", ".join(change.before), ", ".join(change.after)
            return ConfigChange("reordered", change.path, before, after, classify(change.path))
