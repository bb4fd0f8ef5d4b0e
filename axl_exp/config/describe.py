"""From Python objects to the values of flat text: what stands for a dtype, a regex, a dataclass.

Objects of numpy and jax are recognised by the names of their types: neither is imported here.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axl_exp.config.core import ConfigBase
from axl_exp.config.errors import ConfigError
from axl_exp.config.symbol import captured_variables, symbol_name


class UnprintableValueError(ConfigError, TypeError):
    """A value has no text that is the same in every process and says all there is to say."""


@dataclass(frozen=True)
class Symbol:
    """A function, class or enum member by its name, `module:qualname`."""

    name: str

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True)
class Call:
    """An object by how to make it: `dtype("bfloat16")`, `@module:Class(field=1)`."""

    # A word (see WORDS) or the text of a symbol.
    name: str
    args: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()


# The calls that the format itself defines; `set()` and `frozenset(...)` are values of their own.
WORDS = ("P", "complex", "dtype", "partial", "path", "range", "regex")

_SYMBOL = re.compile(r"[A-Za-z0-9_.\-]+:[A-Za-z0-9_.<>|]+")
_REGEX_FLAGS = {re.A: "a", re.I: "i", re.L: "L", re.M: "m", re.S: "s", re.X: "x"}


def describe(value: Any) -> Any:
    """Return the value of flat text that stands for `value`, an object of any type.

    Raises:
        UnprintableValueError: There is none.
    """
    for description in (_scalar, _foreign, _standard_object, _record, _symbol, _container):
        described = description(value)
        if described is not None:
            return described
    raise UnprintableValueError(
        f"cannot print a {_type_name(value)}: its text would hold an address or hide its state; "
        "use a config, a dataclass or plain values, and build the object where it is used"
    )


def _scalar(value: Any) -> Any:
    if _has_base(value, "numpy.generic"):
        item = value.item()
        return None if type(item) is type(value) else item
    if isinstance(value, complex):
        return Call("complex", (value.real, value.imag))
    if isinstance(value, enum.Enum):
        return _symbol(value)
    if isinstance(value, (str, bytes, int, float)):
        # An object of a subclass, as the plain value that it is.
        plain: Any = next(base for base in (str, bytes, int, float) if isinstance(value, base))
        return plain(value)
    return None


def _foreign(value: Any) -> Any:
    dtype = _dtype_of(value)
    if dtype is not None:
        if not _is_numeric(dtype):
            raise UnprintableValueError(
                f"cannot print the dtype {dtype}: only native numeric dtypes have a name that "
                "means the same everywhere; use one of them"
            )
        return Call("dtype", (dtype.name,))
    if is_partition_spec(value):
        sets = ((name, getattr(value, name, None)) for name in ("reduced", "unreduced"))
        parts = tuple(getattr(value, "partitions", value))
        return Call("P", parts, tuple((k, v) for k, v in sets if v))
    if _has_base(value, "jax.UnconstrainedSingleton"):
        return Symbol("jax.sharding:PartitionSpec.UNCONSTRAINED")
    return None


def is_partition_spec(value: Any) -> bool:
    """Whether `value` is a jax PartitionSpec, which in some versions of jax is a tuple."""
    return _has_base(value, "jax.PartitionSpec") or _has_base(value, "jax.P")


def _dtype_of(value: Any) -> Any:
    """The numpy dtype that `value` means: a dtype, a scalar type, or a class of jnp's with one."""
    if _has_base(value, "numpy.dtype"):
        return value
    if isinstance(value, type) and "numpy.generic" in _bases(value):
        try:
            return value(0).dtype
        except (TypeError, ValueError):  # an abstract type, such as np.floating, is a class
            return None
    dtype = None if hasattr(value, "shape") else getattr(value, "dtype", None)
    return dtype if _has_base(dtype, "numpy.dtype") else None


def _is_numeric(dtype: Any) -> bool:
    # The types of ml_dtypes, bfloat16 among them, are of kind V, as are raw bytes ("void").
    plain = dtype.isnative and dtype.fields is None and dtype.subdtype is None
    return plain and dtype.kind in "biufcV" and not dtype.name.startswith("void")


def _standard_object(value: Any) -> Any:
    if isinstance(value, re.Pattern):
        flags = "".join(letter for flag, letter in _REGEX_FLAGS.items() if value.flags & flag)
        return Call("regex", (value.pattern,), (("flags", flags),) if flags else ())
    if isinstance(value, pathlib.PurePath):
        return Call("path", (value.as_posix(),))
    if isinstance(value, range):
        return Call("range", (value.start, value.stop, value.step))
    if isinstance(value, functools.partial):
        return Call("partial", (value.func, *value.args), tuple(sorted(value.keywords.items())))
    return None


def _record(value: Any) -> Any:
    """A dataclass, attrs or named tuple instance, as a call of its class."""
    if isinstance(value, type):
        return None
    if isinstance(value, ConfigBase):
        raise UnprintableValueError(
            f"cannot print a config ({_type_name(value)}) here; configs may stand in fields, "
            "lists, tuples and dicts, not in sets, dataclasses or partials"
        )
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(value, "__attrs_attrs__"):
        names = [field.name for field in value.__attrs_attrs__]
    elif is_named_tuple(value):
        names = value._fields
    else:
        return None
    fields = tuple((name, getattr(value, name)) for name in names)
    return Call(str(_symbol(type(value))), (), fields)


def is_named_tuple(value: Any) -> bool:
    """Whether `value` is an instance of a named tuple class."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _symbol(value: Any) -> Symbol | None:
    captured = captured_variables(value)
    if captured:
        raise UnprintableValueError(
            f"cannot print the function {value.__qualname__}: it captured "
            f"{', '.join(captured)}, whose values its name would hide; "
            "use config_for_function or functools.partial with them as arguments"
        )
    name = symbol_name(value)
    if name is not None and not _SYMBOL.fullmatch(name):
        raise UnprintableValueError(
            f"cannot print {name!r}: a name in flat text is ASCII, `module:qualname`; rename it"
        )
    return Symbol(name) if name is not None else None


def _container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            return base(value)
    return None


def _has_base(value: Any, name: str) -> bool:
    return name in _bases(type(value))


# typed, since jnp.float32 == np.float32, with other bases.
@functools.lru_cache(maxsize=4096, typed=True)
def _bases(cls: type) -> frozenset[str]:
    """The names of a class and its bases, `package.Class`."""
    return frozenset(f"{c.__module__.partition('.')[0]}.{c.__name__}" for c in cls.__mro__)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
