"""What changed between two configs, leaf by leaf, and what each leaf can have an effect on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from axl_exp.config.diff import Added, Change, Changed, Moved, Removed, diff
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.config.parse import FlatConfig
from axl_exp.config.provenance import DEFAULT


@dataclass(frozen=True)
class ConfigChange:
    """One change from A's config to B's.

    Attributes:
        intent: added, removed, changed, moved or reordered.
        path: The leaf; of a move, where it is in B.
        before: In A: a value's text, of a move the path; None for an added leaf.
        after: In B, likewise; None for a removed leaf.
        a_writer: Who set it in A, as `command line (--config.max_step=9)`; None where A has no such
            leaf or does not tell.
        b_writer: In B, likewise.
    """

    intent: str
    path: str
    before: str | None
    after: str | None
    leaf_class: LeafClass
    a_writer: str | None = None
    b_writer: str | None = None


def config_changes(
    a: FlatConfig | None,
    b: FlatConfig | None,
    *,
    classify: Callable[[str], LeafClass] = leaf_class,
    writers: tuple[Mapping[str, str] | None, Mapping[str, str] | None] = (None, None),
) -> list[ConfigChange]:
    """Return the changes from `a` to `b`; none where either config is missing.

    Args:
        classify: path -> class; that of our trainer configs, or of other trainers' arguments.
        writers: Who set the leaves of A, and of B; None where a run does not tell.
    """
    if a is None or b is None:
        return []
    changes = [_told(change, classify) for change in diff(a, b)]
    return [
        replace(c, a_writer=_writer(c, a, writers[0]), b_writer=_writer(c, b, writers[1]))
        for c in changes
    ]


def writers_told(change: ConfigChange) -> str:
    """Return who set the leaf, in A and in B; empty where neither side tells."""
    a, b = change.a_writer, change.b_writer
    if a == b:
        return f"both {a}" if a else ""
    return "; ".join(f"{side} {writer}" for side, writer in (("A", a), ("B", b)) if writer)


def _writer(
    change: ConfigChange, config: FlatConfig, writers: Mapping[str, str] | None
) -> str | None:
    """Return who set, in one of the configs, the leaf that changed; of a move, its first leaf."""
    moved = change.intent == "moved"
    paths = [p for p in ((change.before, change.after) if moved else (change.path,)) if p]
    leaf = next((leaf for leaf in config if any(_is_at(leaf, path) for path in paths)), None)
    if writers is None or leaf is None:
        return None
    return writers.get(leaf, DEFAULT)


def _is_at(leaf: str, path: str) -> bool:
    return leaf == path or leaf.startswith((f"{path}.", f"{path}["))


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
