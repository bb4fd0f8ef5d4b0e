"""The canonical text of a config: one `path: value` line per leaf. The writer of flat text.

The format is in docs/flat_text.md; `axl_exp.config.parse` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from axl_exp.config.core import ConfigBase, field_default
from axl_exp.config.describe import UnprintableValueError, is_named_tuple, is_partition_spec
from axl_exp.config.literal import Head, format_value, sorted_by_key

# Longest line on which a sequence is printed whole.
MAX_LINE_COLUMNS = 100


def config_text(cfg: ConfigBase) -> str:
    """Return the canonical text of `cfg`: the lines of `flatten`, each ended by a newline.

    Raises:
        UnprintableValueError: See `flatten`.
    """
    return flat_text(flatten(cfg))


def flat_text(texts: Mapping[str, str]) -> str:
    """Return the lines of a flattened config, path -> text of the value, as one text."""
    return "".join(f"{path}: {text}\n" for path, text in texts.items())


def flatten(cfg: ConfigBase) -> dict[str, str]:
    """Return path -> text of the value of every leaf of `cfg`, in the order of the lines.

    A field is left out only where its value and its default are both None. The text depends on
    nothing but the config: not on the process, the hash seed, the platform or library versions.

    Raises:
        UnprintableValueError: A value has no such text; the message starts with its path.
    """
    texts: dict[str, str] = {}
    _write_fields(cfg, "", texts)
    return texts


def _write(path: str, value: Any, texts: dict[str, str]) -> None:
    if isinstance(value, ConfigBase):
        _write_config(path, value, texts)
    elif _is_sequence(value) and value:
        _write_sequence(path, value, texts)
    elif isinstance(value, Mapping) and value:
        for key in sorted_by_key(value):
            _write(f"{path}[{_text(path, key)}]", value[key], texts)
    else:
        _put(path, value, texts)


def _write_config(path: str, cfg: ConfigBase, texts: dict[str, str], without: str = "") -> None:
    if "klass" not in cfg and "fn" not in cfg:  # else that field says what this is a config of
        _put(path, Head(f"config {_text(path, type(cfg))}"), texts)
    _write_fields(cfg, path, texts, without)


def _write_fields(cfg: ConfigBase, path: str, texts: dict[str, str], without: str = "") -> None:
    prefix = f"{path}." if path else ""
    for name, value in cfg.items():
        if name == without or value is None and field_default(type(cfg), name) is None:
            continue
        _write(prefix + name, value, texts)


def _write_sequence(path: str, items: list | tuple, texts: dict[str, str]) -> None:
    if not any(map(_holds_lines, items)):
        text = _text(path, items)
        if len(f"{path}: {text}") <= MAX_LINE_COLUMNS:
            texts[path] = text
            return
    kind = "list" if isinstance(items, list) else "tuple"
    names = [item.name for item in items if isinstance(item, ConfigBase) and "name" in item]
    if _are_keys(names, items):
        _put(path, Head(f"{kind} by name"), texts)
        for item, name in zip(items, names, strict=True):
            # The key is the name: not printing it again makes a renamed item a moved one.
            _write_config(f"{path}[{_text(path, name)}]", item, texts, without="name")
        return
    keys = [item[0] for item in items if _is_pair(item)]
    if _are_keys(keys, items):
        _put(path, Head(f"{kind} of pairs"), texts)
        for key, item in items:
            _write(f"{path}[{_text(path, key)}]", item, texts)
        return
    _put(path, Head(f"{kind} of {len(items)}"), texts)
    for i, item in enumerate(items):
        _write(f"{path}[{i}]", item, texts)


def _are_keys(names: list[Any], items: list | tuple) -> bool:
    """Whether every one of `items` has a name of its own among `names`."""
    return len({name for name in names if isinstance(name, str)}) == len(items)


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and _is_sequence(item)


def _is_sequence(value: Any) -> TypeGuard[list | tuple]:
    is_list = isinstance(value, (list, tuple))
    return is_list and not is_named_tuple(value) and not is_partition_spec(value)


def _holds_lines(value: Any) -> bool:
    """Whether `value` has lines of its own wherever it stands: a config, a mapping with items."""
    if isinstance(value, ConfigBase):
        return True
    if isinstance(value, Mapping):
        return bool(value)
    return _is_sequence(value) and any(map(_holds_lines, value))


def _put(path: str, value: Any, texts: dict[str, str]) -> None:
    if path in texts:
        raise UnprintableValueError(f"{path}: two keys print as {path}; give them different names")
    texts[path] = _text(path, value)


def _text(path: str, value: Any) -> str:
    try:
        return format_value(value)
    except UnprintableValueError as error:
        raise UnprintableValueError(f"{path}: {error}") from None
    except RecursionError:
        raise UnprintableValueError(f"{path}: the value is nested too deeply") from None
