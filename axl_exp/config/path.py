"""Paths into a config: `evalers["valid"].input.source.split`.

A path is a sequence of keys. A key is the name of a config field, the key of a mapping, the index
of a sequence, or the name of a named thing in a sequence: a config whose field `name` has that
value, or the second of a pair whose first is that string.
"""

import re
from collections.abc import Sequence
from typing import Any

from axl_exp.config.errors import ConfigError, FrozenConfigError, UnknownFieldError
from axl_exp.config.frozen import FrozenDict, FrozenList
from axl_exp.config.names import similar_names

Key = str | int

_TOKEN = re.compile(
    r"""\.?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)    # .field
      | \[(?P<index>-?\d+)\]                    # [3]
      | \[(?P<quote>["'])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\]   # ["key"]
      | \[(?P<bare>[^\]"']+)\]                  # [key], since shells eat quotes
    """,
    re.VERBOSE,
)


def parse_path(text: str) -> tuple[Key, ...]:
    """Return the keys of a path such as `evalers["valid"].n` or `layers[0].dim`.

    Raises:
        ConfigError: The text is no path.
    """
    keys: list[Key] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise ConfigError(
                f"Malformed path {text!r} at {text[position:]!r}; write it like "
                'learner.optimizer.learning_rate or evalers["valid"].input'
            )
        if match["index"] is not None:
            keys.append(int(match["index"]))
        elif match["quoted"] is not None:
            keys.append(re.sub(r"\\(.)", r"\1", match["quoted"]))
        else:
            keys.append(match["name"] or match["bare"])
        position = match.end()
    if not keys:
        raise ConfigError("An empty path names no field")
    return tuple(keys)


def path_text(keys: Sequence[Key]) -> str:
    """Return keys as a readable path; the inverse of `parse_path`."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif re.fullmatch(r"[a-z][a-z0-9_]*", key):
            text += f".{key}" if text else key
        else:
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def get(root: Any, path: Sequence[Key]) -> Any:
    """Return the value at `path` below `root`.

    Raises:
        UnknownFieldError: A step of the path names nothing; the text names the step, where it was
            looked for, and the nearest names there.
    """
    value = root
    for depth, key in enumerate(path):
        value = _step(value, key, path[:depth])
    return value


def set_value(root: Any, path: Sequence[Key], value: Any) -> None:
    """Set the value at `path` below `root`; containers on the way are replaced by copies.

    Raises:
        UnknownFieldError: As `get`.
        InvalidConfigValueError: The value does not have the type of its field.
    """
    if not path:
        raise ConfigError("An empty path names no field")
    *parents, last = path
    holder = get(root, parents)
    if isinstance(holder, (FrozenList, FrozenDict)):
        raise FrozenConfigError(
            f"Cannot set {path_text(path)}: this config is resolved and frozen; "
            "change a clone() of it instead"
        )
    if _is_config(holder):
        setattr(holder, _field_name(holder, last, parents), value)
        return
    _step(holder, last, parents)  # it must exist
    # A container checks nothing itself: hand its config a changed copy, which checks and records.
    set_value(root, parents, _replaced(holder, last, value))


def _replaced(holder: Any, key: Key, value: Any) -> Any:
    if isinstance(holder, dict):
        return {**holder, key: value}
    if isinstance(key, str):
        index = _names_in(holder)[key]
        if isinstance(holder[index], tuple):
            value = (key, value)
    else:
        index = key
    items = list(holder)
    items[index] = value
    return items if isinstance(holder, list) else tuple(items)


def _step(value: Any, key: Key, walked: Sequence[Key]) -> Any:
    if _is_config(value):
        return getattr(value, _field_name(value, key, walked))
    if isinstance(value, dict):
        if key in value:
            return value[key]
        raise _unknown(key, [str(k) for k in value], walked)
    if isinstance(value, (list, tuple)):
        if isinstance(key, int):
            if -len(value) <= key < len(value):
                return value[key]
            raise UnknownFieldError(
                f"{path_text(walked)} has {len(value)} items, there is no [{key}]"
            )
        named = _names_in(value)
        if key in named:
            item = value[named[key]]
            return item[1] if isinstance(item, tuple) else item
        raise _unknown(key, list(named) or [f"[{i}]" for i in range(len(value))], walked)
    where = path_text(walked) or "the config"
    raise UnknownFieldError(
        f"{path_text([*walked, key])} does not exist: {where} is {value!r}, which has no fields"
    )


def _names_in(items: Sequence[Any]) -> dict[str, int]:
    """The index of every named thing in a sequence; empty unless all are named and distinct."""
    names = []
    for item in items:
        if _is_config(item) and "name" in item:
            names.append(item.name)
        elif isinstance(item, tuple) and len(item) == 2:
            names.append(item[0])
        else:
            return {}
    distinct = len(set(map(repr, names))) == len(names)
    return {n: i for i, n in enumerate(names) if isinstance(n, str)} if distinct else {}


def _field_name(config: Any, key: Key, walked: Sequence[Key]) -> str:
    if isinstance(key, str) and key in config:
        return key
    raise _unknown(key, config.keys(), walked)


def _unknown(key: Key, names: Sequence[str], walked: Sequence[Key]) -> UnknownFieldError:
    similar = similar_names(str(key), names)
    hint = f"did you mean {', '.join(similar)}?" if similar else f"there are: {', '.join(names)}"
    where = path_text(walked) or "the config"
    return UnknownFieldError(f"{where} has no {key!r} ({hint})")


def _is_config(value: Any) -> bool:
    # Duck typing instead of ConfigBase, which needs this module.
    return hasattr(value, "_writes") and not isinstance(value, type)
