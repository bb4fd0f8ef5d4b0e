"""What a config class knows of its fields: their names, annotations and defaults."""

import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Mapping
from typing import Any

import attr

from axl_exp.config import hints, values
from axl_exp.config.errors import InvalidConfigNameError, InvalidConfigValueError


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields of one config class.

    Attributes:
        names: Sorted.
        hints: The annotations. One that names what exists only inside a function or under
            TYPE_CHECKING cannot be resolved and is Any: nothing is checked then.
        defaults: Of the fields that have one, each of a kind and type that the field can hold.
    """

    names: tuple[str, ...]
    hints: Mapping[str, Any]
    defaults: Mapping[str, Any]


@functools.cache
def fields_of(cls: type) -> Fields:
    """Return the fields of a config class, its bases' included.

    Raises:
        InvalidConfigValueError: A default does not fit its annotation.
    """
    fields = sorted(attr.fields(cls), key=lambda f: f.name)
    hint_of = {f.name: _resolved(f.type, cls, f.name) for f in fields}
    defaults = {f.name: f.default for f in fields if f.default is not attr.NOTHING}
    for name, value in defaults.items():
        # `x: int = None` is a habit; the annotation says what a set value must be.
        if value is not None:
            check_value(cls, name, value, hint_of[name])
    return Fields(tuple(hint_of), hint_of, defaults)


def check_value(cls: type, name: str, value: Any, hint: Any) -> None:
    """Raise InvalidConfigValueError, naming the field, if `value` has the wrong kind or type."""
    try:
        values.check_kind(value)
        wrong = hints.misfit(value, hint)
    except InvalidConfigValueError as error:
        raise InvalidConfigValueError(f"{class_text(cls)}.{name}: {error}") from None
    except RecursionError:
        raise InvalidConfigValueError(
            f"{class_text(cls)}.{name}: the value contains itself, or is nested too deeply"
        ) from None
    if wrong is not None:
        raise InvalidConfigValueError(
            f"{class_text(cls)}.{name}{wrong.element}: expected {hints.type_text(wrong.hint)}, "
            f"got {values.value_text(wrong.value)}"
        )


def check_field_name(name: str, *, owner: str, bases: tuple[type, ...]) -> None:
    """Raise InvalidConfigNameError unless `name` is lower_snake_case and no method of `bases`."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InvalidConfigNameError(
            f"{owner}: invalid field name {name!r}; write it in lower_snake_case"
        )
    if any(hasattr(base, name) for base in bases):
        raise InvalidConfigNameError(
            f"{owner}: a field cannot be called {name!r}, since configs have a method of that name"
        )


def class_text(cls: type) -> str:
    """Return a config class's name without the module: `RMSNorm.Config`."""
    return re.sub(r"[\w.]+\.<locals>\.", "", cls.__qualname__)


def _resolved(hint: Any, cls: type, name: str) -> Any:
    if hint is None or hint is inspect.Parameter.empty:
        return Any
    if not isinstance(hint, str):
        return hint
    # `from __future__ import annotations`: look where the annotation was written, from inside out.
    owner = next(c for c in cls.__mro__ if name in inspect.get_annotations(c))
    scope = {**vars(typing), **vars(sys.modules[owner.__module__])}
    outer: Any = sys.modules[owner.__module__]
    for part in owner.__qualname__.split("."):
        outer = getattr(outer, part, None)
        scope.update(getattr(outer, "__dict__", {}))
    try:
        return eval(hint, scope)
    except (NameError, AttributeError):
        return Any
