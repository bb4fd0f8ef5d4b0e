"""ConfigBase and `@config_class`: typed, keyword-only fields that are copied by value.

A config is a tree of objects. Every assignment checks the name and the type, stores a copy, and
remembers who made it; a frozen config refuses.

    @config_class
    class Config(ConfigBase):
        num_layers: int = 12
        activation: Required[str] = REQUIRED

    cfg = Config().set(num_layers=8)
"""

import inspect
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import attr

from axl_exp.config import path as paths
from axl_exp.config import provenance, values, views
from axl_exp.config.errors import (
    FrozenConfigError,
    InvalidConfigClassError,
    MissingConfigClassDecoratorError,
    NonConfigFieldError,
    RequiredFieldMissingError,
    UnknownFieldError,
)
from axl_exp.config.fields import check_field_name, check_value, class_text, fields_of
from axl_exp.config.names import similar_names
from axl_exp.config.provenance import Write
from axl_exp.config.required import REQUIRED, RequiredFieldValue

T = TypeVar("T")
Self = TypeVar("Self", bound="ConfigBase")

# attrs collects the fields of a class and of its bases; everything else is ConfigBase's own.
ATTRS_ARGUMENTS: dict[str, Any] = {
    "collect_by_mro": True,
    "eq": False,
    "init": False,
    "kw_only": True,
    "repr": False,
}


class ConfigBase:
    """The base of config classes; subclasses are decorated with `@config_class`."""

    _is_config = True
    _writes: dict[str, tuple[Write, ...]]
    _frozen: bool

    __hash__ = None  # pyright: ignore  (configs are mutable and compare by value)

    def __init__(self, **kwargs: Any):
        """Set `kwargs`; the other fields hold their defaults, or REQUIRED where they have none."""
        if "__attrs_attrs__" not in type(self).__dict__:
            raise MissingConfigClassDecoratorError(
                f"{class_text(type(self))} is not decorated: write @config_class above the class"
            )
        fields = fields_of(type(self))
        held = dict.fromkeys(fields.names, REQUIRED)
        held.update((name, values.copy_value(value)) for name, value in fields.defaults.items())
        self.__dict__.update(held, _writes={}, _frozen=False)
        ConfigBase.set(self, **kwargs)

    # -- reading ----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Called only for names that are not there.
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._unknown(name)

    def __contains__(self, name: object) -> bool:
        return name in fields_of(type(self)).hints

    def __len__(self) -> int:
        return len(fields_of(type(self)).names)

    def keys(self) -> list[str]:
        """Return the field names, sorted."""
        return list(fields_of(type(self)).names)

    def items(self) -> list[tuple[str, Any]]:
        """Return (name, value) of every field, sorted by name."""
        held = self.__dict__
        return [(name, held[name]) for name in fields_of(type(self)).names]

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
        ConfigBase.set(self, **{name: value})

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Cannot delete {class_text(type(self))}.{name}: fields are set only")

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
        if prepared:
            self._record(prepared)
            self.__dict__.update(prepared)
        return self

    def _prepare(self, name: str, value: Any) -> Any:
        hint_of = fields_of(type(self)).hints
        if name not in hint_of:
            raise self._unknown(name)
        self._check(name, value, hint_of[name])
        return values.copy_value(value)

    def _check(self, name: str, value: Any, hint: Any) -> None:
        check_value(type(self), name, value, hint)

    def _record(self, prepared: dict[str, Any]) -> None:
        writer = provenance.current_writer()
        for name, value in prepared.items():
            before = self.__dict__[name]
            write = Write(writer.by, writer.where, values.outline(value), before)
            self._writes[name] = (*self.writes(name), write)

    def _unknown(self, name: str) -> UnknownFieldError:
        similar = similar_names(name, self.keys())
        hint = f"did you mean: [{', '.join(similar)}]" if similar else f"keys are {self.keys()}"
        return UnknownFieldError(f"{class_text(type(self))} has no field {name} ({hint})")

    def clone(self: Self, **kwargs: Any) -> Self:
        """Return an independent, unfrozen copy with `kwargs` set on it."""
        new = object.__new__(type(self))
        for name, value in self.__dict__.items():
            new.__dict__[name] = value if name == "_writes" else values.copy_value(value)
        new.__dict__.update(_writes=dict(self._writes), _frozen=False)
        return new.set(**kwargs) if kwargs else new

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

    def freeze(self: Self) -> Self:
        """Refuse every further change of this config and of all below it; returns self."""
        for name, value in self.items():
            self.__dict__[name] = values.frozen_value(value)
        self.__dict__["_frozen"] = True
        return self

    def writes(self, name: str) -> tuple[Write, ...]:
        """Return every write to the field `name`, oldest first; empty means the default holds.

        The last one is "changed in place" where a container holds other things than were set.

        Raises:
            UnknownFieldError: There is no field `name`.
        """
        if name not in self:
            raise self._unknown(name)
        writes = self._writes.get(name, ())
        value = self.__dict__[name]
        if not isinstance(value, (list, tuple, dict, set)):
            return writes
        default = field_default(type(self), name)
        known = writes[-1].value if writes else values.outline(default)
        changed = values.outline(value)
        if changed == known:
            return writes
        # When is not known; it cannot have been earlier than this.
        order = (writes[-1].order if writes else 0) + 0.5
        before = known if writes else default
        return (*writes, Write(provenance.CHANGED_IN_PLACE, "", changed, before, order))

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


@typing.dataclass_transform(kw_only_default=True)
def config_class(cls: type[T]) -> type[T]:
    """Make `cls`, a subclass of ConfigBase, a config class whose annotations are its fields.

    Raises:
        InvalidConfigClassError: `cls` does not inherit from ConfigBase.
        InvalidConfigNameError: A field is not lower_snake_case, or is called like a method.
        NonConfigFieldError: An attribute has no annotation.
    """
    if not issubclass(cls, ConfigBase):
        raise InvalidConfigClassError(
            f"@config_class needs a subclass of ConfigBase; {class_text(cls)} is none"
        )
    annotations = inspect.get_annotations(cls)
    for name in annotations:
        check_field_name(name, owner=class_text(cls), bases=cls.__bases__)
    for name, value in cls.__dict__.items():
        method = inspect.isfunction(value) and value.__qualname__ == f"{cls.__qualname__}.{name}"
        descriptor = isinstance(value, (property, classmethod, staticmethod))
        if not (name.startswith("__") or name in annotations or method or descriptor):
            raise NonConfigFieldError(
                f"{class_text(cls)}.{name} has no annotation, so it is no config field; "
                f"write `{name}: <type> = ...`"
            )
    return attr.s(cls, auto_attribs=True, **ATTRS_ARGUMENTS)  # pyright: ignore


def field_default(cls: type, name: str) -> Any:
    """Return the declared default of a field, REQUIRED where it has none."""
    return fields_of(cls).defaults.get(name, REQUIRED)


def check_required(cfg: ConfigBase) -> None:
    """Raise RequiredFieldMissingError naming every field of `cfg` itself that is still REQUIRED."""
    missing = [k for k, v in cfg.items() if isinstance(v, RequiredFieldValue)]
    if missing:
        raise missing_error(class_text(type(cfg)), missing)


def missing_error(owner: str, missing: Sequence[str]) -> RequiredFieldMissingError:
    """Return the error for the REQUIRED fields at the paths `missing` of `owner`."""
    plural = "s" if len(missing) > 1 else ""
    return RequiredFieldMissingError(
        f"Missing value for required field{plural} of {owner}: {', '.join(missing)}; "
        f"set {'them' if plural else 'it'} in the recipe or with --config.<path>=<value>"
    )


def validate(cfg: ConfigBase) -> None:
    """Check a whole config: no field is REQUIRED, and containers changed in place fit their types.

    Raises:
        RequiredFieldMissingError: It names the full path of every field that is not set.
        InvalidConfigValueError: A container holds what its field cannot.
    """
    missing: list[str] = []

    def note(path: str, value: Any) -> None:
        if isinstance(value, RequiredFieldValue):
            missing.append(path)

    views.visit(cfg, visit_fn=note)
    if missing:
        raise missing_error(class_text(type(cfg)), missing)
    for config in views.configs_in(cfg):
        for name, value in config.items():
            if isinstance(value, (list, tuple, dict, set)):
                config._prepare(name, value)
