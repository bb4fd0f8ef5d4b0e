"""What changed between two flat texts, as intents: added, removed, changed, moved, reordered.

`apply(diff(a, b), a)` is `b`, exactly, the order of the lines included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from axl_exp.config.errors import ConfigError
from axl_exp.config.flat_path import canonical_order, split_path, step_key
from axl_exp.config.literal import KEYED_HEADS, format_value
from axl_exp.config.moves import find_moves
from axl_exp.config.parse import FlatConfig


class ApplyError(ConfigError, ValueError):
    """Changes do not fit the text that they are applied to: they were made for another one."""


@dataclass(frozen=True)
class Added:
    """The line `path: after` is new. Values of all changes are texts; see `parse_value`."""

    path: str
    after: str


@dataclass(frozen=True)
class Removed:
    """The line `path: before` is gone."""

    path: str
    before: str


@dataclass(frozen=True)
class Changed:
    """The value at `path` is another one."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Moved:
    """All lines at or below the path `before` are now at or below `after`, values unchanged."""

    before: str
    after: str


@dataclass(frozen=True)
class Reordered:
    """The items of the sequence at `path`, named by their keys, have the order `after`.

    An item that only one of the sides has stands only there, so an insertion in the middle can be
    told from a change of order.
    """

    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]


Change = Added | Removed | Changed | Moved | Reordered
Flat = FlatConfig | Mapping[str, str]


def diff(a: Flat, b: Flat) -> list[Change]:
    """Return what makes `b` of `a`: moves first, then lines in their order, then reorderings.

    Args:
        a: The text before: what `flatten` or `parse_text` returned.
        b: The text after, likewise.
    """
    a, b = _texts(a), _texts(b)
    if list(a.items()) == list(b.items()):
        return []
    moves = [Moved(before, after) for before, after in find_moves(a, b)]
    moved = _move(a, moves)
    gone = {path: text for path, text in moved.items() if path not in b}
    changes: list[Change] = [*moves]
    for path in canonical_order({**b, **gone}):
        if path in gone:
            changes.append(Removed(path, gone[path]))
        elif path not in moved:
            changes.append(Added(path, b[path]))
        elif moved[path] != b[path]:
            changes.append(Changed(path, moved[path], b[path]))
    return changes + list(_reorderings(a, b, apply(changes, a)))


def apply(changes: Sequence[Change], base: Flat) -> dict[str, str]:
    """Return the text that `changes` make of `base`, path -> text of the value, lines in order.

    Raises:
        ApplyError: A change does not fit `base`: a line that it is about is not there, or has
            another value than it had.
    """
    texts = _move(_texts(base), [c for c in changes if isinstance(c, Moved)])
    for change in changes:
        if isinstance(change, (Removed, Changed)):
            if texts.get(change.path) != change.before:
                found = f"has {texts[change.path]}" if change.path in texts else "lacks it"
                raise ApplyError(
                    f"{change.path} was {change.before} when the change was made, and the text "
                    f"it is applied to {found}; make the change anew from this text"
                )
            if isinstance(change, Changed):
                texts[change.path] = change.after
            else:
                del texts[change.path]
    for change in changes:
        if isinstance(change, Added):
            if change.path in texts:
                raise ApplyError(
                    f"{change.path} cannot be added as {change.after}: it is there already, as "
                    f"{texts[change.path]}; make the change anew from this text"
                )
            texts[change.path] = change.after
    return _in_order(texts, [c for c in changes if isinstance(c, Reordered)])


def _texts(flat: Flat) -> Mapping[str, str]:
    return flat.texts if isinstance(flat, FlatConfig) else flat


def _move(texts: Mapping[str, str], moves: Sequence[Moved]) -> dict[str, str]:
    """A copy of `texts` with all moves made at once; a moved line keeps its place in the order."""
    targets = {move.before: move.after for move in moves}
    result: dict[str, str] = {}
    used = set()
    for path, text in texts.items():
        before = next((node for node in _nodes(path) if node in targets), None)
        if before is not None:
            used.add(before)
            path = targets[before] + path.removeprefix(before)
        if path in result:
            raise ApplyError(f"a move ends at {path}, where there is something already")
        result[path] = text
    for move in moves:
        if move.before not in used:
            raise ApplyError(
                f"{move.before} cannot be moved to {move.after}: the text lacks it; "
                "make the change anew from this text"
            )
    return result


def _nodes(path: str) -> Iterator[str]:
    """The paths on the way to `path`, the whole path last."""
    node = ""
    for step in split_path(path):
        node += step
        yield node


def _item_keys(texts: Mapping[str, str], path: str) -> tuple[str, ...]:
    """The keys of the items below the sequence at `path`, in order."""
    depth = len(split_path(path))
    steps = {split_path(below)[depth]: None for below in texts if below.startswith(path + "[")}
    return tuple(str(step_key(step)) for step in steps)


def _reorderings(
    a: Mapping[str, str], b: Mapping[str, str], result: Mapping[str, str]
) -> Iterator[Reordered]:
    """The order of each sequence of `b` that has another in `result`, which else equals `b`."""
    for path, text in b.items():
        if text in KEYED_HEADS:
            after = _item_keys(b, path)
            if _item_keys(result, path) != after:
                yield Reordered(path, before=_item_keys(a, path), after=after)


def _in_order(texts: dict[str, str], reorderings: Sequence[Reordered]) -> dict[str, str]:
    orders = {}
    for change in reorderings:
        if set(_item_keys(texts, change.path)) != set(change.after):
            raise ApplyError(
                f"{change.path} cannot be put into the order {list(change.after)}: its items are "
                f"{list(_item_keys(texts, change.path))}; make the change anew from this text"
            )
        orders[change.path] = [f"[{format_value(key)}]" for key in change.after]
    return {path: texts[path] for path in canonical_order(texts, orders=orders)}
