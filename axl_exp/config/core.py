"""ConfigBase and `@config_class`: typed, keyword-only fields that are copied by value.

A config is a tree of objects. Every assignment checks the name and the type, stores a copy, and
remembers who made it; a frozen config refuses.

    @config_class
    class Config(ConfigBase):
        num_layers: int = 12
        activation: Required[str] = REQUIRED

    cfg = Config().set(num_layers=8)
"""

import builtins
import inspect
import re
import sys
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import attr

from axl_exp.config import path as paths
from axl_exp.config import provenance, values, views
from axl_exp.config.errors import (
    FrozenConfigError,
    InvalidConfigClassError,
    InvalidConfigNameError,
    MissingConfigClassDecoratorError,
    NonConfigFieldError,
    RequiredFieldMissingError,
    UnknownFieldError,
)
from axl_exp.config.frozen import FrozenDict, FrozenList
from axl_exp.config.names import similar_names
from axl_exp.config.required import REQUIRED, RequiredFieldValue

T = TypeVar("T")
Self = TypeVar("Self", bound="ConfigBase")
ValidationFn = Callable[[Any], None]

# Instance attributes that are no fields.
_STATE = ("_writes", "_frozen", "_validators")


class ConfigBase:
    """The base of config classes; subclasses are decorated with `@config_class`."""

    __hash__ = None  # pyright: ignore  (configs are mutable and compare by value)

    def __new__(cls, *args: Any, **kwargs: Any):
        if "__attrs_attrs__" not in cls.__dict__:
            raise MissingConfigClassDecoratorError(
                f"{class_text(cls)} is not decorated: write @config_class above the class"
            )
        return object.__new__(cls)

    def __attrs_post_init__(self) -> None:
        """Check and copy what the generated `__init__` stored."""
        given = dict(self.__dict__)
        self._reset_state()
        defaults = _checked_defaults(type(self))
        for name, value in given.items():
            if name in defaults and value is defaults[name]:
                self.__dict__[name] = values.copy_value(value)
            else:
                self.__dict__[name] = self._prepare(name, value)
                self._writes[name] = (provenance.current_write(value),)

    def _reset_state(self) -> None:
        for name, value in zip(_STATE, ({}, False, ()), strict=True):
            object.__setattr__(self, name, value)

    # -- reading ----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Called only for names that are not there.
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._unknown(name)

    def __contains__(self, name: str) -> bool:
        return name in attr.fields_dict(type(self))

    def __len__(self) -> int:
        return len(attr.fields(type(self)))

    def keys(self) -> list[str]:
        """Return the field names, sorted."""
        return sorted(attr.fields_dict(type(self)))

    def items(self) -> list[tuple[str, Any]]:
        """Return (name, value) of every field, sorted by name."""
        return [(key, self.__dict__[key]) for key in self.keys()]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.items() == other.items()  # pyright: ignore

    def __str__(self) -> str:
        return self.debug_string()

    def __repr__(self) -> str:
        return self.debug_string(kv_separator=":", field_separator="; ")

    # -- writing ----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_frozen" not in self.__dict__:  # inside the generated __init__
            self.__dict__[name] = value
        else:
            self.set(**{name: value})

    def set(self: Self, **kwargs: Any) -> Self:
        """Set fields and return self. All or none: nothing is set if any name or value is wrong.

        Raises:
            UnknownFieldError: A name is no field; the nearest are named.
            InvalidConfigValueError: A value does not have the type of its field.
            FrozenConfigError: The config is resolved.
        """
        if self._frozen:
            raise FrozenConfigError(
                f"Cannot set {', '.join(kwargs)} of {class_text(type(self))}: this config is "
                "resolved and frozen; change a clone() of it instead"
            )
        prepared = {name: self._prepare(name, value) for name, value in kwargs.items()}
        for name, value in prepared.items():
            self.__dict__[name] = value
            write = provenance.current_write(kwargs[name])
            self._writes[name] = (*self._writes.get(name, ()), write)
        return self

    def _prepare(self, name: str, value: Any) -> Any:
        if name not in self:
            raise self._unknown(name)
        where = f"{class_text(type(self))}.{name}"
        values.check_kind(value, where=where)
        values.check_type(value, _field_types(type(self))[name], where=where)
        return values.copy_value(value)

    def _unknown(self, name: str) -> UnknownFieldError:
        similar = similar_names(name, self.keys())
        hint = f"did you mean: [{', '.join(similar)}]" if similar else f"keys are {self.keys()}"
        return UnknownFieldError(f"{class_text(type(self))} has no field {name} ({hint})")

    def clone(self: Self, **kwargs: Any) -> Self:
        """Return an independent, unfrozen copy with `kwargs` set on it."""
        new = object.__new__(type(self))
        new._reset_state()
        for name in attr.fields_dict(type(self)):
            new.__dict__[name] = values.copy_value(self.__dict__[name])
        new._writes.update(self._writes)
        object.__setattr__(new, "_validators", self._validators)
        return new.set(**kwargs)

    def __copy__(self: Self) -> Self:
        return self.clone()

    def __deepcopy__(self: Self, memo: Any) -> Self:
        return self.clone()

    def get_recursively(self, path: Sequence[str | int]) -> Any:
        """Return the value at `path`: a list of field names, mapping keys, indices, item names."""
        return paths.get(self, path)

    def set_recursively(self: Self, path: Sequence[str | int], *, value: Any) -> Self:
        """Set the value at `path` (see `get_recursively`) and return self."""
        paths.set_value(self, path, value)
        return self

    # -- validation -------------------------------------------------------------------------

    def register_validator(self: Self, validator: ValidationFn) -> Self:
        """Have `validator(cfg)` called, to raise, when this config is instantiated or resolved."""
        object.__setattr__(self, "_validators", (*self._validators, validator))
        return self

    def freeze(self: Self) -> Self:
        """Refuse every further change of this config and of all below it; returns self."""
        for name, value in self.items():
            self.__dict__[name] = _frozen(value)
        object.__setattr__(self, "_frozen", True)
        return self

    def writes(self, name: str) -> tuple[provenance.Write, ...]:
        """Return every write to the field `name`, oldest first; empty means the default holds."""
        return self._writes.get(name, ())

    # -- AXLearn's views (the canonical text is `axl_exp.config.text`) ------------------------

    def visit(self, visit_fn: Callable, enter_fn: Any = None, exit_fn: Any = None) -> None:
        """See `views.visit`."""
        views.visit(self, visit_fn=visit_fn, enter_fn=enter_fn, exit_fn=exit_fn)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as nested dicts; functions and classes as their dotted names."""
        return views.to_dict(self)

    def to_flat_dict(
        self, *, omit_default_values: Collection[Any] = (None, REQUIRED)
    ) -> dict[str, Any]:
        """See `views.to_flat_dict`."""
        return views.to_flat_dict(self, omit_default_values=omit_default_values)

    def debug_string(self, **kwargs: Any) -> str:
        """See `views.debug_string`."""
        return views.debug_string(self, **kwargs)


def _frozen(value: Any) -> Any:
    if isinstance(value, ConfigBase):
        return value.freeze()
    if type(value) is list:
        return FrozenList(_frozen(v) for v in value)
    if isinstance(value, dict):
        return FrozenDict({k: _frozen(v) for k, v in value.items()})
    if type(value) is tuple:
        return tuple(_frozen(v) for v in value)
    return value


@typing.dataclass_transform(kw_only_default=True)
def config_class(cls: builtins.type[T]) -> builtins.type[T]:
    """Make `cls`, a subclass of ConfigBase, a config class whose annotations are its fields.

    Raises:
        InvalidConfigClassError: `cls` does not inherit from ConfigBase.
        InvalidConfigNameError: A field is not lower_snake_case.
        NonConfigFieldError: An attribute has no annotation.
    """
    if not issubclass(cls, ConfigBase):
        raise InvalidConfigClassError(
            f"@config_class needs a subclass of ConfigBase; {class_text(cls)} is none"
        )
    annotations = inspect.get_annotations(cls)
    for name in annotations:
        check_field_name(name, owner=class_text(cls))
    for name, value in cls.__dict__.items():
        method = inspect.isfunction(value) and value.__qualname__.startswith(cls.__qualname__ + ".")
        descriptor = isinstance(value, (property, classmethod, staticmethod))
        if not (name.startswith("__") or name in annotations or method or descriptor):
            raise NonConfigFieldError(
                f"{class_text(cls)}.{name} has no annotation, so it is no config field; "
                f"write `{name}: <type> = ...`"
            )
    return attr.s(cls, auto_attribs=True, kw_only=True, eq=False, repr=False)  # pyright: ignore


def check_field_name(name: str, *, owner: str) -> None:
    """Raise InvalidConfigNameError unless `name` is lower_snake_case and free for a field."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InvalidConfigNameError(
            f"{owner}: invalid field name {name!r}; write it in lower_snake_case"
        )
    if hasattr(ConfigBase, name):
        raise InvalidConfigNameError(
            f"{owner}: a field cannot be called {name!r}, since configs have a method of that name"
        )


def class_text(cls: builtins.type) -> str:
    """Return a config class's name without the module: `RMSNorm.Config`."""
    return cls.__qualname__.rpartition("<locals>.")[2]


_TYPES: dict[type, dict[str, Any]] = {}
_DEFAULTS: dict[type, dict[str, Any]] = {}


def _field_types(cls: type) -> dict[str, Any]:
    """The resolved annotation of every field; a string that does not resolve becomes Any."""
    if cls not in _TYPES:
        _TYPES[cls] = {f.name: _resolve_type(cls, f) for f in attr.fields(cls)}
    return _TYPES[cls]


field_types = _field_types


def _resolve_type(cls: type, field: Any) -> Any:
    hint = Any if field.type is None or field.type is inspect.Parameter.empty else field.type
    if isinstance(hint, str):
        owner = next(c for c in cls.__mro__ if field.name in inspect.get_annotations(c))
        scope = {**vars(typing), **vars(sys.modules[owner.__module__])}
        try:
            hint = eval(hint, scope, dict(vars(owner)))
        except NameError:
            return Any
    # A type variable says nothing that could be checked here.
    return Any if isinstance(hint, TypeVar) else hint


def _checked_defaults(cls: type) -> dict[str, Any]:
    """The default of every field that has one, checked once per class."""
    if cls not in _DEFAULTS:
        defaults = {f.name: f.default for f in attr.fields(cls) if f.default is not attr.NOTHING}
        for name, value in defaults.items():
            where = f"{class_text(cls)}.{name} (its default)"
            values.check_kind(value, where=where)
            # `x: int = None` is a habit; the annotation says what a set value must be.
            if value is not None:
                values.check_type(value, _field_types(cls)[name], where=where)
        _DEFAULTS[cls] = defaults
    return _DEFAULTS[cls]


def field_default(cls: type, name: str) -> Any:
    """Return the declared default of a field, `attr.NOTHING` where it has none."""
    return _checked_defaults(cls).get(name, attr.NOTHING)


def check_required(cfg: ConfigBase) -> None:
    """Raise RequiredFieldMissingError naming every field of `cfg` itself that is still REQUIRED."""
    missing = [k for k, v in cfg.items() if isinstance(v, RequiredFieldValue)]
    if missing:
        raise missing_error(class_text(type(cfg)), missing)


def missing_error(owner: str, missing: Sequence[str]) -> RequiredFieldMissingError:
    """Return the error for the REQUIRED fields at the paths `missing` of `owner`."""
    plural = "s" if len(missing) > 1 else ""
    return RequiredFieldMissingError(
        f"{owner}: missing value for required field{plural}: {', '.join(missing)}; "
        f"set {'them' if plural else 'it'} in the recipe or with --config.<path>=<value>"
    )


def validate(cfg: ConfigBase) -> None:
    """Check a whole config: every REQUIRED field is set, and every registered validator passes.

    Raises:
        RequiredFieldMissingError: It names the full path of every field that is not set.
    """
    missing: list[str] = []

    def note(path: str, value: Any) -> None:
        if isinstance(value, RequiredFieldValue):
            missing.append(path)

    views.visit(cfg, visit_fn=note)
    if missing:
        raise missing_error(class_text(type(cfg)), missing)
    for config in views.configs_in(cfg):
        for validator in config._validators:
            validator(config)
