"""Overrides from text: `learner.optimizer.learning_rate=1e-3`, typed by the field it sets."""

import ast
import dataclasses
import enum
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Union

import ml_dtypes  # noqa: F401  (registers bfloat16 and the float8 types with numpy)
import numpy

from axl_exp.config import path as paths
from axl_exp.config import provenance
from axl_exp.config.core import ConfigBase, field_types
from axl_exp.config.errors import ConfigError, OverrideError
from axl_exp.config.required import RequiredFieldValue
from axl_exp.config.values import type_text


@dataclasses.dataclass(frozen=True)
class Override:
    """One `--config.<path>=<text>`, as it was typed."""

    path: str
    text: str

    @property
    def flag(self) -> str:
        return f"--config.{self.path}={self.text}"


C = typing.TypeVar("C", bound=ConfigBase)


def apply_overrides(cfg: C, overrides: Iterable[Override]) -> tuple[C, list[str]]:
    """Return a copy of `cfg` with every override applied in order, and warnings.

    A warning is stated for an override that sets the value that was there already.

    Raises:
        OverrideError: A path names nothing (the nearest is named), a text is no value of the
            field's type, or two overrides touch the same field. Nothing is applied then.
    """
    overrides = list(overrides)
    _check_distinct(overrides)
    cfg = cfg.clone()
    warnings = []
    for override in overrides:
        try:
            keys = paths.parse_path(override.path)
            before = cfg.get_recursively(keys)
            value = parse_typed(override.text, _hint_at(cfg, keys), before=before)
            with provenance.written_by("command line", where=override.flag):
                cfg.set_recursively(keys, value=value)
        except (ConfigError, ValueError) as error:
            raise OverrideError(f"{override.flag}: {error}") from error
        if type(before) is type(value) and before == value:
            warnings.append(f"{override.flag} changes nothing: that is the value already")
    return cfg, warnings


def _check_distinct(overrides: Sequence[Override]) -> None:
    seen: dict[tuple, Override] = {}
    for override in overrides:
        try:
            keys = paths.parse_path(override.path)
        except ConfigError as error:
            raise OverrideError(f"{override.flag}: {error}") from error
        for other_keys, other in seen.items():
            shared = min(len(keys), len(other_keys))
            if keys[:shared] == other_keys[:shared]:
                raise OverrideError(
                    f"{override.flag} and {other.flag} set the same field; keep one of them"
                )
        seen[keys] = override


def _hint_at(cfg: ConfigBase, keys: Sequence[paths.Key]) -> Any:
    """The annotation of the field or element at `keys`."""
    holder = cfg.get_recursively(keys[:-1]) if len(keys) > 1 else cfg
    if isinstance(holder, ConfigBase):
        return field_types(type(holder))[keys[-1]]  # pyright: ignore
    if len(keys) < 2:
        return Any
    outer = _hint_at(cfg, keys[:-1])
    options = typing.get_args(outer) if _is_union(outer) else (outer,)
    for option in options:
        args, origin = typing.get_args(option), typing.get_origin(option)
        if isinstance(holder, dict) and origin is dict and len(args) == 2:
            return args[1]
        if isinstance(holder, (list, tuple)) and args:
            if origin is tuple and args[-1] is not Ellipsis and isinstance(keys[-1], int):
                return args[keys[-1]]
            if origin in (list, tuple) or isinstance(origin, type):
                return args[0]
    return Any


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def parse_typed(text: str, hint: Any, *, before: Any = None) -> Any:
    """Return the value that `text` means for a field annotated `hint`.

    Numbers, booleans (true/false), None, enum members by name, dtypes by name, strings with or
    without quotes, and Python literals of lists, tuples and dicts. A field annotated Any takes the
    type of its present value `before`.

    Raises:
        ValueError: `text` is no value of that type; the message says what is expected.
    """
    if hint is Any and before is not None and not isinstance(before, RequiredFieldValue):
        hint = type(before)
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    options = [o for o in options if o is not RequiredFieldValue]
    # Narrow types first: a text that reads as a number is one where both are allowed.
    options.sort(key=_width)
    for option in options:
        try:
            return _parse_as(text, option)
        except (ValueError, SyntaxError, TypeError, KeyError):
            continue
    if isinstance(before, ConfigBase):
        raise ValueError("that is a config, not a value; override one of its fields instead")
    raise ValueError(f"{text!r} is not a value of type {type_text(hint)}{_hint_for(text, hint)}")


def _width(hint: Any) -> int:
    order = [type(None), bool, int, float]
    return order.index(hint) if hint in order else (99 if hint is str else 50)


def _hint_for(text: str, hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"; one of: {', '.join(hint.__members__)}"
    if hint is bool:
        return "; write true or false"
    return ""


def _parse_as(text: str, hint: Any) -> Any:
    if hint is type(None):
        if text.lower() == "none":
            return None
        raise ValueError
    if hint is bool:
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if hint is int:
        return _parse_int(text)
    if hint is float:
        return float(text.replace("_", ""))
    if hint is str:
        quoted = re.fullmatch(r"""(["']).*\1""", text, re.DOTALL)
        return ast.literal_eval(text) if quoted else text
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint[text] if text in hint.__members__ else hint(text)
    if _is_dtype(hint):
        return _parse_dtype(text)
    value = ast.literal_eval(text)
    if hint is not Any and typing.get_origin(hint) in (tuple,) and isinstance(value, list):
        return tuple(value)
    if typing.get_origin(hint) is list and isinstance(value, tuple):
        return list(value)
    if isinstance(hint, type) and hint is not object and not isinstance(value, hint):
        raise ValueError
    return value


def _parse_int(text: str) -> int:
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        number = float(text)  # 1e6 is an honest way to write an int
        if not number.is_integer():
            raise
        return int(number)


def _is_dtype(hint: Any) -> bool:
    names = {f"{c.__module__}.{c.__name__}" for c in getattr(hint, "__mro__", ())}
    return "numpy.dtype" in names or getattr(hint, "__name__", "") == "_ScalarMeta"


def _parse_dtype(text: str) -> Any:
    return numpy.dtype(text.removeprefix("jnp.").removeprefix("jax.numpy."))
