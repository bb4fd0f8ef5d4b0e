"""Configs that make things: of a class of ours (Configurable), of any class, of any function."""

import copy
import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, Generic, Optional, TypeVar, Union

import attr

from axl_exp.config import core, values
from axl_exp.config.core import ConfigBase, config_class
from axl_exp.config.errors import InvalidConfigNameError, InvalidConfigValueError
from axl_exp.config.fields import check_field_name, class_text
from axl_exp.config.hints import misfit
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


# A `T`, or a config of one.
ConfigOr = Union[T, InstantiableConfig[T]]  # noqa: UP007  (an alias generic in T needs Union)


def maybe_instantiate(x: Any, /, **kwargs: Any) -> Any:
    """Return `x.instantiate(**kwargs)` if `x` is a config, else `x` itself."""
    return x.instantiate(**kwargs) if isinstance(x, InstantiableConfig) else x


def maybe_set_config(cfg: Cfg, /, **kwargs: Any) -> Cfg:
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
        klass: type = REQUIRED

        def instantiate(self, **kwargs: Any) -> Any:
            """Return `klass(self, **kwargs)`."""
            core.check_required(self)
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
        # A subclass may keep what it reads of its config, and not the config itself.
        return repr(self._config) if hasattr(self, "_config") else super().__repr__()


class SignatureConfig(InstantiableConfig[T]):
    """A config whose fields are the parameters of what it calls."""

    def _check(self, name: str, value: Any, hint: Any) -> None:
        # A parameter may be given as a config of its value, for the function to instantiate.
        if not isinstance(value, InstantiableConfig) or hint in (int, float, bool, str, bytes):
            super()._check(name, value, hint)


@config_class
class FunctionConfigBase(SignatureConfig[T]):
    """The base of what `config_for_function` returns; `instantiate()` calls `fn`."""

    # The function to call.
    fn: Callable[..., T] = REQUIRED

    def instantiate(self, **kwargs: Any) -> T:
        """Return `fn` called with the fields; `kwargs` win over fields of the same name."""
        return _call(self, self.fn, _signature(self.fn), kwargs)

    def __reduce__(self) -> Any:
        return config_for_function, (self.fn,), self.__dict__


@config_class
class ClassConfigBase(SignatureConfig[T]):
    """The base of what `config_for_class` returns; `instantiate()` makes a `klass`."""

    # The class to make.
    klass: type = REQUIRED

    def instantiate(self, **kwargs: Any) -> T:
        """Return `klass` made with the fields; `kwargs` win over fields of the same name."""
        return _call(self, self.klass, _init_signature(self.klass), kwargs)

    def __reduce__(self) -> Any:
        return config_for_class, (self.klass,), self.__dict__


def config_for_function(fn: Callable[..., T]) -> Any:
    """Return a config whose fields are the parameters of `fn`; without a default means REQUIRED.

    `*args` and `**kwargs` of `fn` become fields too, an empty tuple and an empty dict at first.

    Raises:
        InvalidConfigNameError: A parameter's name cannot be that of a field.
        InvalidConfigValueError: `fn` is no function that has a name and a signature.
    """
    return _class_for(fn, "config_for_function", _signature(fn), FunctionConfigBase)(fn=fn)


def config_for_class(cls: type[T]) -> Any:
    """Return a config whose fields are the parameters of `cls.__init__` (see above)."""
    return _class_for(cls, "config_for_class", _init_signature(cls), ClassConfigBase)(klass=cls)


def config_for_partial_function(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Any:
    """Return a config that instantiates to `functools.partial(fn, *args, **kwargs)`."""
    return config_for_class(functools.partial).set(args=[fn, *args], kwargs=kwargs)


def _signature(fn: Any) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise InvalidConfigValueError(
            f"{values.value_text(fn)} has no signature to make fields of ({error}); "
            "wrap it in a function of yours"
        ) from None


def _init_signature(cls: type) -> inspect.Signature:
    if cls is functools.partial:  # its C constructor has no signature before Python 3.13
        return inspect.signature(lambda *args, **kwargs: None)
    if cls.__init__ is object.__init__:  # made by __new__, such as a named tuple
        return _signature(cls)
    signature = _signature(cls.__init__)
    own = [p for name, p in signature.parameters.items() if name != "self"]
    return signature.replace(parameters=own)


# One class per function or class, so that two configs of the same function can be equal.
_CLASSES: dict[type, weakref.WeakKeyDictionary[Any, type]] = {
    FunctionConfigBase: weakref.WeakKeyDictionary(),
    ClassConfigBase: weakref.WeakKeyDictionary(),
}


def _class_for(target: Any, maker: str, signature: inspect.Signature, base: type) -> Any:
    made = _CLASSES[base].get(target)
    if made is not None:
        return made
    if not hasattr(target, "__qualname__"):
        raise InvalidConfigValueError(
            f"{maker} needs something that has a name, got {values.value_text(target)}; "
            "wrap it in a function of yours, or see config_for_partial_function"
        )
    name = f"{maker}({target.__module__}.{target.__qualname__})"
    fields = {
        p.name: _field(p, target, owner=name, base=base) for p in signature.parameters.values()
    }
    made = attr.make_class(name, fields, bases=(base,), **core.ATTRS_ARGUMENTS)
    made.__qualname__ = name
    _CLASSES[base][target] = made
    return made


def _field(parameter: inspect.Parameter, target: Any, *, owner: str, base: type) -> Any:
    if parameter.name.startswith("_") or parameter.name in attr.fields_dict(base):
        raise InvalidConfigNameError(
            f"{owner}: its '{parameter.name}' parameter cannot become a config field; "
            "rename it, or wrap the function in one of yours"
        )
    check_field_name(parameter.name, owner=owner, bases=(base,))
    hint, default = _hint(parameter, target), parameter.default
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        hint, default = list | tuple, ()
    elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
        hint, default = dict, {}
    elif default is inspect.Parameter.empty:
        default = REQUIRED
    elif default is None:
        hint = Optional[hint]  # noqa: UP045  (a hint may be anything, `|` needs a type)
    elif misfit(default, hint):
        hint = Any  # the author of the function did not mean the annotation strictly
    return attr.ib(default=default, type=hint)


def _hint(parameter: inspect.Parameter, target: Any) -> Any:
    hint = parameter.annotation
    if hint is inspect.Parameter.empty:
        return Any
    if not isinstance(hint, str):
        return hint
    # `from __future__ import annotations` in the module of the function or class.
    function = inspect.unwrap(target.__init__ if isinstance(target, type) else target)
    try:
        return eval(hint, dict(getattr(function, "__globals__", {})))
    except (NameError, AttributeError, TypeError):
        return Any


def _call(cfg: Any, target: Callable, signature: inspect.Signature, kwargs: dict[str, Any]) -> Any:
    """Call `target` with the fields of `cfg`; `kwargs` replace fields or are passed on."""
    value_of = {n: kwargs.pop(n) if n in kwargs else getattr(cfg, n) for n in signature.parameters}
    missing = [name for name, value in value_of.items() if isinstance(value, RequiredFieldValue)]
    if missing:
        raise core.missing_error(class_text(type(cfg)), missing)
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    spread = any(k is inspect.Parameter.VAR_POSITIONAL and value_of[n] for n, k in kinds.items())
    args, keywords = [], {}
    for name, kind in kinds.items():
        if kind is inspect.Parameter.VAR_POSITIONAL:
            args.extend(value_of[name])
        elif kind is inspect.Parameter.VAR_KEYWORD:
            kwargs = {**value_of[name], **kwargs}
        elif kind is inspect.Parameter.POSITIONAL_ONLY or (
            spread and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ):
            args.append(value_of[name])
        else:
            keywords[name] = value_of[name]
    return target(*args, **keywords, **kwargs)


class ConfigModifier(Configurable):
    """A function from config to config, itself made from a config.

    A modifier is pure: it returns a changed `clone()` and leaves its argument as it was.
    """

    def __call__(self, cfg: Cfg) -> Cfg:
        """Return a modified copy of `cfg`."""
        raise NotImplementedError(type(self))
