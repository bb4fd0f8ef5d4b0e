"""What a field may hold: the kinds of values, copies of them, frozen copies."""

import collections
import copy
import dataclasses
import enum
import functools
import pathlib
import re
import types
from collections.abc import Callable
from typing import Any

import attr

from axl_exp.config.errors import InvalidConfigValueError
from axl_exp.config.frozen import FrozenDict, FrozenList, FrozenSet
from axl_exp.config.required import RequiredFieldValue

_SCALARS = (
    type(None),
    RequiredFieldValue,
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    enum.Enum,
    re.Pattern,
    pathlib.PurePath,
    range,
)
# The same by exact type, for speed: most values of most configs are one of these.
PLAIN_TYPES = frozenset({*_SCALARS, type, types.FunctionType, types.BuiltinFunctionType} - {range})
# Found by name, since this package never imports numpy or jax. (jax calls PartitionSpec `P`.)
_FOREIGN_SCALARS = {"numpy.dtype", "numpy.generic", "jax.P", "jax.PartitionSpec"}

Matches = Callable[[Any], bool]
Validates = Callable[[Any], None]
_REGISTERED: list[tuple[Matches, Validates]] = []


def register_validator(*, match_fn: Matches, validate_fn: Validates) -> None:
    """Let fields hold the values for which `match_fn` is true and `validate_fn` does not raise.

    For kinds of objects that no config takes by itself. They must have a `__deepcopy__` that serves
    (configs copy by value), and a text for the flat text to print them.
    """
    _REGISTERED.append((match_fn, validate_fn))


def is_config(value: Any) -> bool:
    """Whether `value` is a ConfigBase; for the modules that ConfigBase itself needs."""
    return getattr(type(value), "_is_config", False) is True


def check_kind(value: Any) -> None:
    """Raise InvalidConfigValueError unless `value` is of a kind that a config can print and copy.

    Scalars, enums, functions, classes, dtypes, partition specs, regexes, paths, dataclasses,
    attrs and named tuples, configs, and lists, tuples, sets and dicts of them.
    """
    if type(value) in PLAIN_TYPES or is_config(value):
        return
    registered = [validate for matches, validate in _REGISTERED if matches(value)]
    for validate in registered:
        validate(value)
    if registered or isinstance(value, _SCALARS) or _is_reference(value):
        return
    if isinstance(value, dict):
        _check_kinds([*value.keys(), *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        _check_kinds(value)
    elif isinstance(value, functools.partial):
        _check_kinds([value.func, *value.args, *value.keywords.values()])
    elif dataclasses.is_dataclass(value):
        _check_kinds([getattr(value, f.name) for f in dataclasses.fields(value)])
    elif attr.has(type(value)):
        _check_kinds([getattr(value, f.name) for f in attr.fields(type(value))])
    elif not (_is_foreign_scalar(value) or hasattr(value, "from_pretrained")):
        # from_pretrained: a configuration object of Hugging Face.
        raise InvalidConfigValueError(
            f"a config cannot hold {value_text(value)}; use plain values, functions, classes, "
            "dataclasses or configs, and build objects in the code that the config instantiates"
        )


def _check_kinds(items: Any) -> None:
    for item in items:
        check_kind(item)


def _is_reference(value: Any) -> bool:
    """Whether `value` is a class or a function that can be named: `module`, `qualname`."""
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return True
    # Objects that stand for a function: jitted ones, custom derivatives, proxies.
    named = hasattr(value, "__name__") and hasattr(value, "__module__")
    return callable(value) and named


def _is_foreign_scalar(value: Any) -> bool:
    return any(
        f"{c.__module__.partition('.')[0]}.{c.__name__}" in _FOREIGN_SCALARS
        for c in type(value).__mro__
    )


def copy_value(value: Any) -> Any:
    """Return a copy that shares nothing mutable with `value`; functions and classes stay as is."""
    kind = type(value)
    if kind in PLAIN_TYPES:
        return value
    if is_config(value):
        return value.clone()
    if kind is list or kind is FrozenList:
        return [copy_value(v) for v in value]
    if kind is tuple:
        return tuple([copy_value(v) for v in value])
    if kind is dict or kind is FrozenDict:
        return {k: copy_value(v) for k, v in value.items()}
    if kind is FrozenSet:
        return set(value)
    if isinstance(value, _SCALARS) or _is_reference(value) or _is_foreign_scalar(value):
        return value
    if isinstance(value, collections.defaultdict):
        items = {k: copy_value(v) for k, v in value.items()}
        return collections.defaultdict(value.default_factory, items)
    if isinstance(value, dict):
        return kind({k: copy_value(v) for k, v in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*(copy_value(v) for v in value))
    return copy.deepcopy(value)


def frozen_value(value: Any) -> Any:
    """Return `value` with its configs frozen and its containers replaced by frozen ones."""
    if is_config(value):
        return value.freeze()
    if isinstance(value, list):
        return FrozenList(frozen_value(v) for v in value)
    if isinstance(value, dict):
        return FrozenDict({k: frozen_value(v) for k, v in value.items()})
    if isinstance(value, set):
        return FrozenSet(value)
    if type(value) is tuple:
        return tuple(frozen_value(v) for v in value)
    return value


def outline(value: Any) -> Any:
    """Return a copy of the containers of `value`, every config replaced by the name of its class.

    Two outlines differ if something in a container was added, removed, moved or set in place; not
    if a field of a config in it was, since that config records its own writes.
    """
    if type(value) in PLAIN_TYPES:
        return value
    if is_config(value):
        return type(value).__qualname__
    if isinstance(value, dict):
        return {k: outline(v) for k, v in value.items()}
    if isinstance(value, list):
        return [outline(v) for v in value]
    if type(value) is tuple:
        return tuple(outline(v) for v in value)
    if isinstance(value, set):
        return set(value)
    return value


def value_text(value: Any) -> str:
    """Return the type of `value` and the start of its repr, for an error message."""
    kind = type(value).__qualname__.rpartition("<locals>.")[2]
    text = " ".join(repr(value).split())
    return f"{kind} {text if len(text) <= 60 else text[:57] + '...'}"
