"""What a field may hold: the kinds of values, their types against the annotation, copies."""

import collections
import copy
import dataclasses
import enum
import functools
import operator
import pathlib
import re
import types
import typing
from collections.abc import Callable
from typing import Any, Union

import typeguard

from axl_exp.config.errors import InvalidConfigValueError
from axl_exp.config.frozen import FrozenDict, FrozenList
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
_NON_BOOL = {int, float, str, type(None), RequiredFieldValue}
# Found by name, since this package never imports jax.
_FOREIGN_SCALARS = {"numpy.dtype", "numpy.generic", "jax.P", "jax.PartitionSpec"}


def check_kind(value: Any, *, where: str) -> None:
    """Raise InvalidConfigValueError unless `value` is of a kind that a config can print and copy.

    Scalars, enums, functions, classes, dtypes, partition specs, regexes, paths, dataclasses,
    attrs and named tuples, configs, and lists, tuples, sets and dicts of them.
    """
    if isinstance(value, _SCALARS) or _is_reference(value) or _is_foreign_scalar(value):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            check_kind(key, where=where)
            check_kind(item, where=where)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            check_kind(item, where=where)
    elif isinstance(value, functools.partial):
        check_kind([value.func, *value.args, *value.keywords.values()], where=where)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            check_kind(getattr(value, field.name), where=where)
    elif not (
        hasattr(value, "__attrs_attrs__")  # configs, and other attrs classes
        or hasattr(value, "from_pretrained")  # configuration objects of Hugging Face
    ):
        raise InvalidConfigValueError(
            f"{where}: a config cannot hold a {_type_name(type(value))} ({_shorten(value)}); "
            "use plain values, functions, classes, dataclasses or configs, and build objects in "
            "the code that the config instantiates"
        )


def _is_reference(value: Any) -> bool:
    """Whether `value` is a class or a function that can be named: `module`, `qualname`."""
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return True
    named = hasattr(value, "__name__") or hasattr(value, "__qualname__")
    return callable(value) and named and hasattr(value, "__module__")


def _is_foreign_scalar(value: Any) -> bool:
    names = {f"{c.__module__.partition('.')[0]}.{c.__name__}" for c in type(value).__mro__}
    return not names.isdisjoint(_FOREIGN_SCALARS)


def copy_value(value: Any) -> Any:
    """Return a copy that shares nothing mutable with `value`; functions and classes stay as is."""
    if isinstance(value, _SCALARS) or _is_reference(value):
        return value
    if isinstance(value, collections.defaultdict):
        copied = collections.defaultdict(value.default_factory)
        copied.update({k: copy_value(v) for k, v in value.items()})
        return copied
    if isinstance(value, dict):
        make = dict if isinstance(value, FrozenDict) else type(value)
        return make({k: copy_value(v) for k, v in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copy_value(v) for v in value))
    if type(value) in (list, FrozenList):
        return [copy_value(v) for v in value]
    if type(value) is tuple:
        return tuple(copy_value(v) for v in value)
    return copy.deepcopy(value)


def check_type(value: Any, hint: Any, *, where: str) -> None:
    """Raise InvalidConfigValueError unless `value` has the type that the annotation `hint` asks.

    Element types of containers are checked too. REQUIRED fits every field; an int fits a float
    field; a bool fits neither int nor float; a field annotated with a dtype takes what numpy would
    (`jnp.bfloat16` is a class).
    """
    if hint is Any or isinstance(value, RequiredFieldValue):
        return
    if type(value) is hint:  # the common case, at no cost
        return
    # Python's bool is an int; a config's is not.
    if isinstance(value, bool) and _plain_types(hint) <= _NON_BOOL:
        raise _type_error(value, hint, where=where)
    try:
        typeguard.check_type(
            value,
            _relaxed(hint),
            forward_ref_policy=typeguard.ForwardRefPolicy.IGNORE,
            collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
        )
    except typeguard.TypeCheckError as error:
        raise _type_error(value, hint, where=where, detail=str(error)) from None


def _type_error(value: Any, hint: Any, *, where: str, detail: str = "") -> InvalidConfigValueError:
    # typeguard's text says which element failed; its first line is about a plain mismatch.
    element = detail if detail.startswith(("item ", "key ", "value of key ", "element ")) else ""
    inner = f" ({element})" if element else ""
    return InvalidConfigValueError(
        f"{where}: expected {type_text(hint)}, got {_type_name(type(value))} "
        f"{_shorten(value)}{inner}"
    )


def _plain_types(hint: Any) -> set[Any]:
    args = typing.get_args(hint) if _is_union(hint) else (hint,)
    return {type(None) if a is None else a for a in args}


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


@functools.lru_cache(maxsize=4096)
def _relaxed_cached(hint: Any) -> Any:
    name = f"{getattr(hint, '__module__', '')}.{getattr(hint, '__name__', '')}"
    if name == "numpy.dtype":
        return hint | type
    if _is_union(hint):
        return functools.reduce(operator.or_, map(_relaxed, typing.get_args(hint)))
    return hint


def _relaxed(hint: Any) -> Any:
    try:
        return _relaxed_cached(hint)
    except TypeError:  # an unhashable annotation, such as Literal[[...]]
        return hint


def type_text(hint: Any) -> str:
    """Return an annotation as a person would write it: `int | None`, `tuple[str, ...]`."""
    if _is_union(hint):
        args = [a for a in typing.get_args(hint) if a is not RequiredFieldValue]
        return " | ".join(type_text(a) for a in args)
    if hint is type(None):
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return _type_name(hint)
    if typing.get_origin(hint) is Callable:
        return "a function"
    return str(hint).replace("typing.", "")


def _type_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ != "builtins" else cls.__name__


def _shorten(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
