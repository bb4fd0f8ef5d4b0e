"""Paths into a config: `evalers["valid"].input.source.split`.

A path is a sequence of keys. A key is the name of a config field, the key of a mapping, the index
of a sequence, or the name of a named thing in a sequence: a config whose field `name` has that
value, or the second of a pair whose first is that string.
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from axl_exp.config.errors import FrozenConfigError, InvalidPathError, UnknownFieldError
from axl_exp.config.frozen import FrozenDict, FrozenList
from axl_exp.config.names import similar_names
from axl_exp.config.values import is_config

# A mapping may also have other scalars as keys: `[0.5]`, `[True]`.
Key = str | int

_TOKEN = re.compile(
    r"""\.?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)    # .field
      | \[(?P<literal> -?\d+                    # [3]
          | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'   # ["key"]
        )\]
      | \[(?P<bare>[^\]"'\[]+)\]                # [key], since shells eat quotes
    """,
    re.VERBOSE,
)


def parse_path(text: str) -> tuple[Key, ...]:
    """Return the keys of a path such as `evalers["valid"].n` or `layers[0].dim`.

    Raises:
        InvalidPathError: The text is no path.
    """
    keys: list[Key] = []
    position = 0
    while position < len(text) or not keys:
        match = _TOKEN.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise InvalidPathError(
                f"Malformed path {text!r} at {text[position:]!r}; write it like "
                'learner.optimizer.learning_rate or evalers["valid"].input'
            )
        keys.append(match["name"] or _literal(match["literal"] or match["bare"]))
        position = match.end()
    return tuple(keys)


def path_text(keys: Sequence[Key]) -> str:
    """Return keys as a path, as the flat text writes it; the inverse of `parse_path`."""
    text = ""
    for key in keys:
        if isinstance(key, str) and re.fullmatch(r"[a-z][a-z0-9_]*", key):
            text += f".{key}" if text else key
        else:
            text += f"[{json.dumps(key)}]"
    return text


def get(root: Any, path: Sequence[Key]) -> Any:
    """Return the value at `path` below `root`.

    Raises:
        UnknownFieldError: A step of the path names nothing; the text names the step, where it was
            looked for, and the nearest names there.
    """
    value = root
    for depth, key in enumerate(path):
        value = step(value, key, path[:depth])
    return value


def set_value(root: Any, path: Sequence[Key], value: Any) -> None:
    """Set the value at `path` below `root`; containers on the way are replaced by copies.

    Raises:
        UnknownFieldError: As `get`.
        InvalidConfigValueError: The value does not have the type of its field.
    """
    if not path:
        raise InvalidPathError("An empty path names no field")
    *parents, last = path
    holder = get(root, parents)
    if isinstance(holder, (FrozenList, FrozenDict)):
        raise FrozenConfigError(
            f"Cannot set {path_text(path)}: this config is resolved and frozen; "
            "change a clone() of it instead"
        )
    if is_config(holder):
        setattr(holder, _field_name(holder, last, parents), value)
        return
    step(holder, last, parents)  # it must exist
    # A container checks nothing itself: hand its config a changed copy, which checks and records.
    set_value(root, parents, _replaced(holder, last, value))


def step(value: Any, key: Key, walked: Sequence[Key] = ()) -> Any:
    """Return what `key` names in `value`, which is at the path `walked`; errors as in `get`."""
    if is_config(value):
        return getattr(value, _field_name(value, key, walked))
    if isinstance(value, dict):
        found = dict_key(value, key)
        if found in value:
            return value[found]
        raise _unknown(key, value, walked)
    if isinstance(value, (list, tuple)):
        if isinstance(key, int):
            if -len(value) <= key < len(value):
                return value[key]
            raise UnknownFieldError(
                f"{path_text(walked)} has {len(value)} items, there is no [{key}]"
            )
        index_of = names_in(value)
        if key in index_of:
            item = value[index_of[key]]
            return item[1] if isinstance(item, tuple) else item
        raise _unknown(key, index_of or range(len(value)), walked)
    where = path_text(walked) or "the config"
    raise UnknownFieldError(
        f"{path_text([*walked, key])} does not exist: {where} is {value!r}, which has no fields"
    )


def names_in(items: Sequence[Any]) -> dict[str, int]:
    """Return the index of every thing in a sequence by its name, if all have one of their own."""
    names = [i.name if is_config(i) and "name" in i else None for i in items]
    if not any(names):
        pairs = [isinstance(i, tuple) and len(i) == 2 and not hasattr(i, "_fields") for i in items]
        names = [item[0] for item in items] if all(pairs) else []
    index_of = {name: i for i, name in enumerate(names) if isinstance(name, str)}
    return index_of if len(index_of) == len(items) else {}


def _replaced(holder: Any, key: Key, value: Any) -> Any:
    if isinstance(holder, dict):
        return {**holder, dict_key(holder, key): value}
    index = names_in(holder)[key] if isinstance(key, str) else key
    if isinstance(key, str) and isinstance(holder[index], tuple):
        value = (key, value)
    items = list(holder)
    items[index] = value
    return items if isinstance(holder, list) else tuple(items)


def _literal(text: str) -> Any:
    if text.startswith('"'):
        return json.loads(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def dict_key(mapping: dict, key: Key) -> Any:
    """Return the key of `mapping` that `key` means: without its quotes, "3" reads as 3."""
    alike = [k for k in mapping if str(k) == str(key)]
    return alike[0] if key not in mapping and len(alike) == 1 else key


def _field_name(config: Any, key: Key, walked: Sequence[Key]) -> str:
    if isinstance(key, str) and key in config:
        return key
    raise _unknown(key, config.keys(), walked)


def _unknown(key: Key, names: Any, walked: Sequence[Key]) -> UnknownFieldError:
    names = [str(name) for name in names]
    similar = similar_names(str(key), names)
    hint = f"did you mean {', '.join(similar)}?" if similar else f"there are: {', '.join(names)}"
    where = path_text(walked) or "the config"
    return UnknownFieldError(f"{where} has no {key!r} ({hint})")
