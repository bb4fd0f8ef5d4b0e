"""The values of flat text and their one writer. The grammar is in docs/flat_text.md.

A value is None, True, False, an int, float, str or bytes, REQUIRED, a list, tuple, set, frozenset
or dict of values, a `Symbol` (something with an importable name) or a `Call` (something described
by how to make it). Every other object becomes one of these in `describe`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from axl_exp.config.describe import Call, Symbol, UnprintableValueError, describe
from axl_exp.config.required import RequiredFieldValue

# None, bool, int, float, str, bytes, REQUIRED, list, tuple, set, frozenset, dict, Symbol, Call.
Value = Any


@dataclass(frozen=True)
class Head:
    """What the line of a node that has lines of its own below it says: `list by name`."""

    text: str

    def __str__(self) -> str:
        return self.text


# The items below these heads have an order of their own; all else in flat text is sorted.
KEYED_HEADS = frozenset({"list by name", "tuple by name", "list of pairs", "tuple of pairs"})


def format_value(value: Any) -> str:
    """Return the one canonical text of `value`: one line, ASCII only.

    Args:
        value: A value as `parse_value` returns it, or any object that has one.

    Raises:
        UnprintableValueError: `value`, or something in it, has no text that is the same in every
            process and says all there is to say. The message names the type and the fix.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        value = describe(value)
        write = _WRITERS[type(value)]
    return write(value)


def sort_key(value: Any) -> tuple[int, float, str]:
    """Return the rank of a mapping key or set element: numbers, then strings, then the rest."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
        return (0, value, "")
    if isinstance(value, str):
        return (1, 0, value)
    return (2, 0, format_value(value))


def sorted_by_key(values: Iterable[Any]) -> list[Any]:
    """Return mapping keys or set elements in the order of flat text."""
    return sorted(values, key=lambda value: sort_key(_comparable(value)))


def _comparable(value: Any) -> Any:
    # A numpy integer or an enum of strings sorts as what it prints as.
    return value if type(value) in _WRITERS else describe(value)


def _string(value: str) -> str:
    # json leaves DEL as it is, the one control character above the space.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _bytes(value: bytes) -> str:
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value)
    return f'b"{"".join(plain)}"'


def _items(values: Iterable[Any]) -> str:
    return ", ".join(map(format_value, values))


def _tuple(value: tuple) -> str:
    return f"({_items(value)},)" if len(value) == 1 else f"({_items(value)})"


def _set(value: set) -> str:
    return f"{{{_items(sorted_by_key(value))}}}" if value else "set()"


def _frozenset(value: frozenset) -> str:
    return f"frozenset({_set(set(value)) if value else ''})"


def _dict(value: dict) -> str:
    pairs = (f"{format_value(k)}: {format_value(value[k])}" for k in sorted_by_key(value))
    return f"{{{', '.join(pairs)}}}"


def _call(value: Call) -> str:
    for name, _ in value.keywords:
        if not (name.isascii() and name.isidentifier()):
            raise UnprintableValueError(
                f"cannot print {value.name}(...): the argument name {name!r} is no ASCII "
                "identifier; rename it"
            )
    keywords = [f"{name}={format_value(item)}" for name, item in value.keywords]
    return f"{value.name}({', '.join([*map(format_value, value.args), *keywords])})"


_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): repr,
    bool: repr,
    int: repr,
    float: repr,
    str: _string,
    bytes: _bytes,
    list: lambda value: f"[{_items(value)}]",
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    dict: _dict,
    RequiredFieldValue: repr,
    Symbol: str,
    Call: _call,
    Head: str,
}
