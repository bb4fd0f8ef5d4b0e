"""The text of changes: what a mesh rule does to a golden config, in a form that can be applied.

learner.accumulation_steps: 1 -> 4
+ model.remat.policy: "dots"
- mesh_shape.dcn: None
moved model.decoder -> model.backbone
order rules: ["a", "b"] -> ["b", "a"]
"""

from __future__ import annotations

from collections.abc import Iterable

from axl_exp.config.diff import Added, Change, Changed, Moved, Removed, Reordered
from axl_exp.config.flat_path import read_steps
from axl_exp.config.literal import format_value
from axl_exp.config.parse import at_line, numbered_lines
from axl_exp.config.parse_value import ParseError, Reader


def delta_text(changes: Iterable[Change]) -> str:
    """Return one line per change, in the order given; no changes are the empty text."""
    return "".join(f"{change_text(change)}\n" for change in changes)


def change_text(change: Change) -> str:
    """Return the line of one change, without its line end."""
    match change:
        case Added(path, after):
            return f"+ {path}: {after}"
        case Removed(path, before):
            return f"- {path}: {before}"
        case Changed(path, before, after):
            return f"{path}: {before} -> {after}"
        case Moved(before, after):
            return f"moved {before} -> {after}"
        case Reordered(path, before, after):
            orders = format_value(list(before)), format_value(list(after))
            return f"order {path}: {orders[0]} -> {orders[1]}"


def parse_delta(text: str, *, source: str = "delta") -> list[Change]:
    """Return the changes that `delta_text` wrote; blank lines and `#` lines are skipped.

    Raises:
        ParseError: A line is malformed or not in the writer's form. The message starts with
            `source:line:`.
    """
    changes: list[Change] = []
    for number, line in numbered_lines(text, source=source):
        with at_line(source, number):
            change = _parse_change(Reader(line))
            if change_text(change) != line:
                written = change_text(change)
                raise ParseError(f"not in the form that the writer prints; write {written}")
            changes.append(change)
    return changes


def _parse_change(reader: Reader) -> Change:
    if reader.accept("+ "):
        return Added(_path(reader, ": "), _leaf(reader))
    if reader.accept("- "):
        return Removed(_path(reader, ": "), _leaf(reader))
    if reader.accept("moved "):
        return Moved(_path(reader, " -> "), _path(reader, ""))
    if reader.accept("order "):
        path = _path(reader, ": ")
        return Reordered(path, before=_keys(reader, " -> "), after=_keys(reader, ""))
    return Changed(_path(reader, ": "), _leaf(reader, " -> "), _leaf(reader))


def _path(reader: Reader, end: str) -> str:
    path = "".join(read_steps(reader))
    _end(reader, end)
    return path


def _leaf(reader: Reader, end: str = "") -> str:
    value = reader.leaf()
    _end(reader, end)
    return format_value(value)


def _keys(reader: Reader, end: str) -> tuple[str, ...]:
    keys = reader.value()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        reader.fail("a list of strings before this place")
    _end(reader, end)
    return tuple(keys)


def _end(reader: Reader, end: str) -> None:
    if end:
        reader.expect(end)
    else:
        reader.end()
