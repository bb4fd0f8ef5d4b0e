"""Overrides from text: `learner.optimizer.learning_rate=1e-3`, typed by the field it sets."""

import ast
import dataclasses
import enum
import pathlib
import re
import sys
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

from axl_exp.config import path as paths
from axl_exp.config import provenance
from axl_exp.config.core import ConfigBase
from axl_exp.config.errors import ConfigError, OverrideError
from axl_exp.config.fields import fields_of
from axl_exp.config.hints import is_dtype, is_union, means_dtype, misfit, type_text
from axl_exp.config.required import RequiredFieldValue

C = TypeVar("C", bound=ConfigBase)


@dataclasses.dataclass(frozen=True)
class Override:
    """One `--config.<path>=<text>`, as it was typed."""

    path: str
    text: str

    @property
    def flag(self) -> str:
        return f"--config.{self.path}={self.text}"


def apply_overrides(cfg: C, overrides: Iterable[Override]) -> tuple[C, list[str]]:
    """Return a copy of `cfg` with every override applied in order, and warnings.

    A warning is stated for an override that sets the value that was there already.

    Raises:
        OverrideError: A path names nothing (the nearest is named), a text is no value of the
            field's type, or two overrides touch the same field. Nothing is applied then.
    """
    cfg = cfg.clone()
    applied: dict[tuple[paths.Key, ...], Override] = {}
    warnings = []
    for override in overrides:
        try:
            keys = _plain_keys(cfg, paths.parse_path(override.path))
            before = cfg.get_recursively(keys)
            value = parse_typed(override.text, _hint_at(cfg, keys), before=before)
            with provenance.written_by("command line", where=override.flag):
                cfg.set_recursively(keys, value=value)
        except (ConfigError, ValueError) as error:
            raise OverrideError(f"{override.flag}: {error}") from error
        for other_keys, other in applied.items():
            shared = min(len(keys), len(other_keys))
            if keys[:shared] == other_keys[:shared]:
                raise OverrideError(
                    f"{override.flag} and {other.flag} set the same field; keep one of them"
                )
        applied[keys] = override
        if type(before) is type(value) and before == value:
            warnings.append(f"{override.flag} changes nothing: that is the value already")
    return cfg, warnings


def _plain_keys(cfg: ConfigBase, keys: Sequence[paths.Key]) -> tuple[paths.Key, ...]:
    """`keys` with every item of a sequence by its index, so that one thing has one path."""
    plain: list[paths.Key] = []
    holder: Any = cfg
    for depth, key in enumerate(keys):
        item = paths.step(holder, key, keys[:depth])
        if isinstance(holder, (list, tuple)):
            if isinstance(key, str):
                index = paths.names_in(holder)[key]
                # The second of a pair is what the name of the pair stands for.
                plain += [index, 1] if isinstance(holder[index], tuple) else [index]
            else:
                plain.append(key % len(holder))
        else:
            plain.append(paths.dict_key(holder, key) if isinstance(holder, dict) else key)
        holder = item
    return tuple(plain)


def _hint_at(cfg: ConfigBase, keys: Sequence[paths.Key]) -> Any:
    """The annotation of what is at `keys`, Any where there is none."""
    holder: Any = cfg
    hint: Any = type(cfg)
    for key in keys:
        if isinstance(holder, ConfigBase):
            hint = fields_of(type(holder)).hints[typing.cast(str, key)]
        else:
            hint = next((h for o in _options(hint) for h in _element_hints(o, holder, key)), Any)
        holder = paths.step(holder, key)
    return hint


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if is_union(hint) else (hint,)


def _element_hints(hint: Any, holder: Any, key: paths.Key) -> tuple[Any, ...]:
    """The annotation of `holder[key]` where `hint` is that of `holder`, () where it says none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if not args or not isinstance(origin, type) or not isinstance(holder, origin):
        return ()
    if isinstance(holder, dict):
        return args[1:2]
    if origin is tuple and args[-1] is not Ellipsis:
        return args[int(key) : int(key) + 1]
    return args[:1]


def parse_typed(text: str, hint: Any, *, before: Any = None) -> Any:
    """Return the value that `text` means for a field annotated `hint`.

    Numbers, true and false, none, members of enums and literals, dtypes and paths by name, strings
    with or without quotes, and Python literals of lists, tuples, sets and dicts. What fits several
    types of a union is the first of None, a number, a boolean, another, a string: quotes make
    "none" or "3" a string. A field annotated Any takes the type of its present value `before`.

    Raises:
        ValueError: `text` is no value of that type; the message says what is expected.
    """
    if hint is Any and not (before is None or isinstance(before, RequiredFieldValue)):
        hint = _type_like(before)
    options = [o for o in _options(hint) if o is not RequiredFieldValue]
    for option in sorted(options, key=_rank):
        try:
            value = _parse_as(text, option)
        except (ValueError, SyntaxError, TypeError, KeyError):
            continue
        if misfit(value, option) is None:
            return value
    if isinstance(before, ConfigBase):
        raise ValueError("that is a config, not a value; override one of its fields instead")
    if callable(before) and not is_dtype(hint):
        raise ValueError(f"{type_text(hint)} has no text; set it in a recipe or a modifier")
    raise ValueError(f"{text!r} is not a value of type {type_text(hint)}{_expected(hint)}")


def _type_like(before: Any) -> Any:
    if means_dtype(before):
        return sys.modules["numpy"].dtype  # imported by whoever made `before`
    return int | float if type(before) is int else type(before)


def _rank(hint: Any) -> int:
    order = [type(None), int, float, bool]
    last = [str, Any]
    return order.index(hint) if hint in order else len(order) + (hint in last)


def _expected(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"; one of: {', '.join(hint.__members__)}"
    if hint is bool:
        return "; write true or false"
    if typing.get_origin(hint) in (list, tuple, dict):
        return "; write it as in Python, strings in quotes"
    return ""


def _parse_as(text: str, hint: Any) -> Any:
    if hint is type(None):
        return {"none": None}[text.lower()]
    if hint is bool:
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if hint is int:
        return _parse_int(text)
    if hint is float:
        return float(text)
    if hint is str:
        return _unquoted(text)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint[text] if text in hint.__members__ else hint(_unquoted(text))
    if typing.get_origin(hint) is Literal:
        return {str(option): option for option in typing.get_args(hint)}[_unquoted(text)]
    if isinstance(hint, type) and issubclass(hint, pathlib.PurePath):
        return hint(_unquoted(text))
    if is_dtype(hint):
        printed = re.fullmatch(r"dtype\((.*)\)", text)  # As config.txt has it.
        name = _unquoted(printed[1] if printed else text)
        return hint(name.removeprefix("jnp.").removeprefix("jax.numpy."))
    if hint is Any:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    return _parse_container(text, typing.get_origin(hint) or hint)


def _unquoted(text: str) -> str:
    quoted = re.fullmatch(r"""(["']).*\1""", text, re.DOTALL)
    return ast.literal_eval(text) if quoted else text


def _parse_container(text: str, kind: Any) -> Any:
    value = ast.literal_eval(text)
    # Brackets for parentheses, and the other way round, are no reason to refuse.
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        return kind(value)
    return value


def _parse_int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        number = float(text)  # 1e6 is an honest way to write an int
        if not number.is_integer() or abs(number) > 2**53:
            raise
        return int(number)
