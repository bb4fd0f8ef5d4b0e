"""From flat text back to the config that it is of: the reader of a run's `config.txt`."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes  # noqa: F401  (numpy knows bfloat16 by name once it is imported)
import numpy as np

from axl_exp.config.core import ConfigBase
from axl_exp.config.describe import Call, Symbol
from axl_exp.config.errors import ConfigError
from axl_exp.config.flat_path import split_path, step_key
from axl_exp.config.instantiable import Configurable, config_for_class, config_for_function
from axl_exp.config.literal import Head, Value

# From the name of a symbol, `module:qualname`, to the object.
Find = Callable[[str], Any]


@dataclass
class _Node:
    """What stands at a path, and what stands below it by step."""

    value: Value = None
    below: dict[str, _Node] = field(default_factory=dict)


def build_config(flat: Mapping[str, Value], *, find: Find) -> Any:
    """Return the config whose flat text is `flat`: `parse_text(config_text(cfg))` gives `cfg` back.

    Args:
        flat: What `parse_text` returned, of a config with a `klass`.
        find: From names to functions and classes; it may refuse.

    Raises:
        ConfigError: A class or a field of the text is not in this code, or a value is none of its
            field's type; the message starts with the path.
    """
    top = _Node(Head(""))
    for path, value in flat.items():
        node = top
        for step in split_path(path):
            node = node.below.setdefault(step, _Node(Head("")))
        node.value = value
    if "klass" not in top.below:
        raise ConfigError("the text has no line `klass: @...`, which says what it is a config of")
    return _build("", top, find)


def _build(path: str, node: _Node, find: Find) -> Any:
    if not isinstance(node.value, Head):
        return _object(path, node.value, find)
    kind, _, rest = node.value.text.partition(" ")
    if kind == "config":
        return _with_fields(path, _found(path, rest.removeprefix("@"), find)(), node, find)
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_items(path, rest, node, find))
    for name, step in (("klass", ".klass"), ("fn", ".fn")):
        made_of = node.below.get(name if not path else step)
        if made_of is not None and isinstance(made_of.value, Symbol):
            return _with_fields(path, _default(path, name, made_of.value.name, find), node, find)
    return {step_key(step): _build(path + step, item, find) for step, item in node.below.items()}


def _default(path: str, kind: str, name: str, find: Find) -> ConfigBase:
    target = _found(path, name, find)
    if kind == "fn":
        return config_for_function(target)
    if isinstance(target, type) and issubclass(target, Configurable):
        return target.default_config()
    return config_for_class(target)


def _with_fields(path: str, cfg: ConfigBase, node: _Node, find: Find) -> ConfigBase:
    for step, item in node.below.items():
        name = step.removeprefix(".")
        if name in ("klass", "fn"):
            continue
        value = _build(path + step, item, find)
        try:
            cfg.set(**{name: value})
        except ConfigError as error:
            raise ConfigError(f"{path + step}: {error}") from error
    return cfg


def _items(path: str, kind: str, node: _Node, find: Find) -> list[Any]:
    built = {step: _build(path + step, item, find) for step, item in node.below.items()}
    if kind == "by name":
        return [item.set(name=step_key(step)) for step, item in built.items()]
    if kind == "of pairs":
        return [(step_key(step), item) for step, item in built.items()]
    return list(built.values())


def _object(path: str, value: Value, find: Find) -> Any:
    """Return what a value of flat text stands for."""
    if isinstance(value, Symbol):
        return _found(path, value.name, find)
    if isinstance(value, Call):
        return _called(path, value, find)
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_object(path, item, find) for item in value)
    if isinstance(value, dict):
        return {key: _object(path, item, find) for key, item in value.items()}
    return value


def _called(path: str, call: Call, find: Find) -> Any:
    args = [_object(path, item, find) for item in call.args]
    keywords = {name: _object(path, item, find) for name, item in call.keywords}
    match call.name:
        case "dtype":
            return np.dtype(args[0])
        case "regex":
            letters = keywords.get("flags", "").upper()
            return re.compile(args[0], sum(getattr(re, letter) for letter in letters))
        case "path":
            return pathlib.PurePath(*args)
        case "range":
            return range(*args)
        case "complex":
            return complex(*args)
        case name if name.startswith("@"):
            return _found(path, name[1:], find)(*args, **keywords)
    raise ConfigError(f"{path}: {call.name}(...) is text that no config is made of again")


def _found(path: str, name: str, find: Find) -> Any:
    try:
        return find(name)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
