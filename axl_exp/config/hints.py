"""Whether a value has the type that an annotation asks for, down to the elements of containers."""

import collections.abc
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, NewType, TypeVar, Union

from axl_exp.config.required import RequiredFieldValue


class Misfit(NamedTuple):
    """The first part of a value that has not the type asked for."""

    # Where it is in the value: "" is the value itself, `[1]` an element, `["k"]` an item.
    element: str
    value: Any
    hint: Any


def misfit(value: Any, hint: Any) -> Misfit | None:
    """Return what of `value` does not fit the annotation `hint`, None if all of it does.

    REQUIRED fits every annotation and an int fits a float, but a bool is no number. A dtype may be
    given as numpy takes it: `jnp.bfloat16` is a class. What cannot be decided without running
    code (type variables, signatures of functions, names that were never resolved) fits.
    """
    if type(value) is hint or hint is Any or isinstance(value, RequiredFieldValue):
        return None
    origin = typing.get_origin(hint)
    if origin is None or origin is type and not typing.get_args(hint):
        return None if _is_instance(value, hint) else Misfit("", value, hint)
    args = typing.get_args(hint)
    if is_union(hint):
        return _union_misfit(value, hint, args)
    if origin is typing.Annotated or origin is typing.Final:
        return misfit(value, args[0])
    if origin is Literal:
        fits = any(type(value) is type(a) and value == a for a in args)
        return None if fits else Misfit("", value, hint)
    if origin is type:
        return None if _is_class_of(value, args[0]) else Misfit("", value, hint)
    if not _is_instance(value, origin):
        return Misfit("", value, hint)
    if not args or not isinstance(origin, type):
        return None
    for element, part, part_hint in _parts(value, origin, args):
        if part_hint is _NO_PART:
            return Misfit("", value, hint)
        wrong = misfit(part, part_hint)
        if wrong is not None:
            return wrong._replace(element=element + wrong.element)
    return None


_NO_PART = object()
_SEQUENCES = (list, tuple, str, bytes, range)


def _parts(value: Any, origin: Any, args: tuple) -> Iterator[tuple[str, Any, Any]]:
    """Yield (where, element, annotation) of a container; `_NO_PART` if their number is wrong."""
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) != len(value):
            yield "", value, _NO_PART
        for i, (part, hint) in enumerate(zip(value, args, strict=False)):
            yield f"[{i}]", part, hint
    elif issubclass(origin, collections.abc.Mapping) and len(args) == 2:
        for key, item in value.items():
            yield f" key {key!r}", key, args[0]
            yield f"[{key!r}]", item, args[1]
    elif issubclass(origin, collections.abc.Iterable) and isinstance(value, _SEQUENCES):
        for i, part in enumerate(value):
            yield f"[{i}]", part, args[0]
    elif issubclass(origin, collections.abc.Iterable) and isinstance(value, (set, frozenset)):
        for part in value:
            yield f" element {part!r}", part, args[0]


def _union_misfit(value: Any, hint: Any, options: tuple) -> Misfit | None:
    deepest = Misfit("", value, hint)
    for option in options:
        wrong = misfit(value, option)
        if wrong is None:
            return None
        # `[1, "x"]` for `list[int] | None`: it is its element [1] that is wrong.
        deepest = wrong if wrong.element else deepest
    return deepest


def _is_instance(value: Any, hint: Any) -> bool:
    if hint is None:
        return value is None
    if not isinstance(hint, type):
        # `NewType("X", int)`; `type X = int` of Python 3.12.
        meant = getattr(hint, "__supertype__", getattr(hint, "__value__", Any))
        return misfit(value, meant) is None
    if hint in (int, float, complex) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, (float, int))
    if hint is complex:
        return isinstance(value, (complex, float, int))
    try:
        return isinstance(value, hint) or (is_dtype(hint) and means_dtype(value))
    except TypeError:  # a protocol that is not for isinstance
        return True


def _is_class_of(value: Any, hint: Any) -> bool:
    if not isinstance(value, type):
        return False
    options = typing.get_args(hint) if is_union(hint) else (hint,)
    plain = [typing.get_origin(o) or o for o in options]
    # A type variable or Any says nothing about the class.
    return any(not isinstance(o, type) or issubclass(value, o) for o in plain)


def is_union(hint: Any) -> bool:
    """Whether `hint` is `A | B`, `Union[A, B]` or `Optional[A]`."""
    return typing.get_origin(hint) in (Union, types.UnionType)


def is_dtype(hint: Any) -> bool:
    """Whether `hint` is numpy's (and so jax's) dtype; found by name: numpy is not imported here."""
    return any(c.__module__ == "numpy" and c.__name__ == "dtype" for c in _bases(hint))


def _bases(hint: Any) -> tuple[type, ...]:
    return hint.__mro__ if isinstance(hint, type) else ()


def means_dtype(value: Any) -> bool:
    """Whether `value` is a scalar type of numpy or jax, such as np.float32 or jnp.bfloat16."""
    return isinstance(value, type) and hasattr(value, "dtype")


def type_text(hint: Any) -> str:
    """Return an annotation as a person would write it: `int | None`, `tuple[str, ...]`."""
    if is_union(hint):
        args = [a for a in typing.get_args(hint) if a is not RequiredFieldValue]
        return " | ".join(type_text(a) for a in args)
    if hint is None or hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    if isinstance(hint, (TypeVar, NewType)):
        return hint.__name__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if collections.abc.Callable in (hint, origin):
        return "function"
    if origin is Literal:
        return " | ".join(map(repr, args))
    if isinstance(origin, type) and args:
        return f"{type_text(origin)}[{', '.join(type_text(a) for a in args)}]"
    if isinstance(hint, type):
        return hint.__qualname__.rpartition("<locals>.")[2]
    return str(hint).replace("typing.", "")
