"""Where in our layers the operations of a compiled program were written, from its stack frames.

XLA's text begins with tables: names of files and functions, locations, and frames that name their
parent. A frame's parent is printed as its number plus one, 1 for a frame without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from axl_exp.dryrun.compiled.hlo import Instruction

_ENTRY = re.compile(r"^(\d+) (.*)$")
_LAYER_CALL = re.compile(r"([A-Z]\w*)\.(?:__call__|logits|loss|attend)")
_MANY = 256  # No stack of ours is as deep; ends the walk through a table that is a circle.


def layers_by_frame(text: str) -> dict[int, str]:
    """Return, by number of stack frame, the layers that called there: `Decoder/Linear`.

    The two innermost; nothing for a frame outside of layers. A text without tables gives nothing.
    """
    functions = {k: v.strip('"') for k, v in _table(text, "FunctionNames").items()}
    function_of = {
        location: functions.get(_field(fields, "function_name_id"), "")
        for location, fields in _table(text, "FileLocations").items()
    }
    frames = {
        frame: (function_of.get(_field(fields, "file_location_id"), ""), _parent(fields))
        for frame, fields in _table(text, "StackFrames").items()
    }
    return {frame: name for frame in frames if (name := _layers_of(frame, frames))}


def layers_of(instruction: Instruction, layers: Mapping[int, str]) -> str:
    """Return the layers whose operation it is, '' where they are not known."""
    found = re.search(r"stack_frame_id=(\d+)", instruction.attributes)
    return layers.get(int(found[1]), "") if found else ""


def _layers_of(frame: int, frames: Mapping[int, tuple[str, int]]) -> str:
    names: list[str] = []
    for _ in range(_MANY):
        if frame not in frames or len(names) == 2:
            break
        function, frame = frames[frame]
        found = _LAYER_CALL.fullmatch(function)
        if found and found[1] not in names:
            names.append(found[1])
    return "/".join(reversed(names))


def _table(text: str, name: str) -> dict[int, str]:
    head = text[: max(text.find("\n%"), text.find("\nENTRY"), 0) or None]
    start = head.find(f"\n{name}\n")
    if start < 0:
        return {}
    rows = {}
    for line in head[start + len(name) + 2 :].splitlines():
        found = _ENTRY.match(line)
        if not found:
            break
        rows[int(found[1])] = found[2]
    return rows


def _field(fields: str, name: str) -> int:
    found = re.search(rf"{name}=(\d+)", fields)
    return int(found[1]) if found else 0


def _parent(fields: str) -> int:
    return _field(fields, "parent_frame_id") - 1
