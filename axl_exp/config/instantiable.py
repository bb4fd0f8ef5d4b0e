"""Configs that make things: of a class of ours (Configurable), of any class, of any function."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar, Union

import attr

from axl_exp.config import core
from axl_exp.config.core import ConfigBase, config_class
from axl_exp.config.errors import InvalidConfigNameError
from axl_exp.config.required import REQUIRED, RequiredFieldValue

T = TypeVar("T")
C = TypeVar("C", bound="Configurable")
Cfg = TypeVar("Cfg", bound=ConfigBase)


class InstantiableConfig(ConfigBase, Generic[T]):
    """A config that describes one object, and makes it."""

    def instantiate(self, **kwargs: Any) -> T:
        """Return a new object; `kwargs` are what is no part of the config (keys, sizes, locks).

        Raises:
            RequiredFieldMissingError: It names every field of this config that is not set.
        """
        raise NotImplementedError(type(self))

    def _run_validators(self) -> None:
        for validator in self._validators:
            validator(self)


# A `T`, or a config of one.
ConfigOr = Union[T, InstantiableConfig[T]]  # noqa: UP007  (an alias generic in T needs Union)


def maybe_instantiate(x: Any, **kwargs: Any) -> Any:
    """Return `x.instantiate(**kwargs)` if `x` is a config, else `x` itself."""
    return x.instantiate(**kwargs) if isinstance(x, InstantiableConfig) else x


def maybe_set_config(cfg: Cfg, **kwargs: Any) -> Cfg:
    """Set those of `kwargs` that are fields of `cfg`, ignore the others, return `cfg`."""
    return cfg.set(**{k: v for k, v in kwargs.items() if k in cfg})


class Configurable:
    """The base of classes whose objects are made from a config.

    class Dense(Configurable):
        @config_class
        class Config(Configurable.Config):
            bias: bool = False

        def __init__(self, cfg: Config, *, input_dim: int): ...

    layer = Dense.default_config().set(bias=True).instantiate(input_dim=64)
    """

    @config_class
    class Config(InstantiableConfig[T]):
        """The base of the nested `Config` classes."""

        # The class to make; `default_config()` sets it.
        klass: type

        def instantiate(self, **kwargs: Any) -> Any:
            """Return `klass(self, **kwargs)`."""
            core.check_required(self)
            self._run_validators()
            return self.klass(self, **kwargs)

    @classmethod
    def default_config(cls) -> Any:
        """Return a new config of this class with its defaults."""
        return cls.Config(klass=cls)

    def __init__(self, cfg: Any):
        self._config = copy.deepcopy(cfg)

    @property
    def config(self) -> Any:
        """A copy of the config that this object was made from."""
        return copy.deepcopy(self._config)

    def __repr__(self) -> str:
        return repr(self._config)


@config_class
class FunctionConfigBase(InstantiableConfig[T]):
    """The base of what `config_for_function` returns; `instantiate()` calls `fn`."""

    # The function to call.
    fn: Callable

    def instantiate(self, **kwargs: Any) -> T:
        """Return `fn` called with the fields; `kwargs` win over fields of the same name."""
        return _call(self, self.fn, inspect.signature(self.fn), kwargs)


@config_class
class ClassConfigBase(InstantiableConfig[T]):
    """The base of what `config_for_class` returns; `instantiate()` makes a `klass`."""

    # The class to make.
    klass: type

    def instantiate(self, **kwargs: Any) -> T:
        """Return `klass` made with the fields; `kwargs` win over fields of the same name."""
        return _call(self, self.klass, _init_signature(self.klass), kwargs)


def config_for_function(fn: Callable[..., T]) -> Any:
    """Return a config whose fields are the parameters of `fn`; without a default means REQUIRED.

    `*args` and `**kwargs` of `fn` become fields too: a list and a dict.
    """
    name = f"config_for_function({fn.__module__}.{fn.__qualname__})"
    return _make_class(FunctionConfigBase, name, inspect.signature(fn), "fn", fn)(fn=fn)


def config_for_class(cls: type[T]) -> Any:
    """Return a config whose fields are the parameters of `cls.__init__` (see above)."""
    name = f"config_for_class({cls.__module__}.{cls.__qualname__})"
    return _make_class(ClassConfigBase, name, _init_signature(cls), "klass", cls)(klass=cls)


def config_for_partial_function(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Any:
    """Return a config that instantiates to `functools.partial(fn, *args, **kwargs)`."""
    return config_for_class(functools.partial).set(args=[fn, *args], kwargs=kwargs)


def _init_signature(cls: type) -> inspect.Signature:
    if cls is functools.partial:  # its C constructor has no signature before Python 3.13
        return inspect.signature(lambda *args, **kwargs: None)
    signature = inspect.signature(cls.__init__)
    own = [p for name, p in signature.parameters.items() if name != "self"]
    return signature.replace(parameters=own)


def _make_class(
    base: type, name: str, signature: inspect.Signature, target_field: str, target: Any
) -> Any:
    fields = {}
    for parameter in signature.parameters.values():
        if parameter.name == target_field or parameter.name.startswith("_"):
            raise InvalidConfigNameError(
                f"{name}: a parameter called {parameter.name!r} cannot become a config field; "
                "rename it, or wrap the function in one of yours"
            )
        core.check_field_name(parameter.name, owner=name)
        fields[parameter.name] = attr.ib(
            default=_field_default(parameter), type=_field_type(parameter, target), kw_only=True
        )
    made = attr.make_class(name, fields, bases=(base,), kw_only=True, eq=False, repr=False)
    made.__qualname__ = name
    return made


def _field_default(parameter: inspect.Parameter) -> Any:
    return REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default


def _field_type(parameter: inspect.Parameter, target: Any) -> Any:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        return list | tuple if parameter.kind is inspect.Parameter.VAR_POSITIONAL else dict
    hint = parameter.annotation
    if hint is inspect.Parameter.empty:
        return Any
    if isinstance(hint, str):
        # `from __future__ import annotations` in the function's module.
        scope = getattr(inspect.unwrap(getattr(target, "__init__", target)), "__globals__", None)
        scope = getattr(inspect.unwrap(target), "__globals__", scope) or {}
        try:
            hint = eval(hint, dict(scope))
        except (NameError, TypeError):
            return Any
    # A function's parameter may be given as a config of its value.
    return ConfigOr[hint] if _can_be_config(hint) else hint


def _can_be_config(hint: Any) -> bool:
    return hint not in (Any, int, float, bool, str, bytes)


def _call(cfg: Any, fn: Callable, signature: inspect.Signature, kwargs: dict[str, Any]) -> Any:
    args: list[Any] = []
    for name, parameter in signature.parameters.items():
        value = getattr(cfg, name)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            args = [] if isinstance(value, RequiredFieldValue) else list(value)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            for key, item in ({} if isinstance(value, RequiredFieldValue) else value).items():
                kwargs.setdefault(key, item)
        else:
            kwargs.setdefault(name, value)
    missing = [k for k, v in kwargs.items() if isinstance(v, RequiredFieldValue)]
    if missing:
        raise core.missing_error(core.class_text(type(cfg)), missing)
    cfg._run_validators()
    return fn(*args, **kwargs)


class ConfigModifier(Configurable):
    """A function from config to config, itself made from a config.

    A modifier is pure: it returns a changed `clone()` and leaves its argument as it was.
    """

    def __call__(self, cfg: Cfg) -> Cfg:
        """Return a modified copy of `cfg`."""
        raise NotImplementedError(type(self))
