"""Rows of a table that says where each field of another system's config is in ours.

A pattern must match the whole path of a field; in our paths `\\1`, `\\2` are its groups.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from axl_exp.config import ConfigBase
from axl_exp.config.path import get, parse_path


@dataclasses.dataclass(frozen=True)
class Same:
    """The value stands at our path; a class, function or dtype under its name, modules aside."""

    pattern: str
    path: str

    def check(self, cfg: ConfigBase, match: re.Match[str], theirs: Any) -> None:
        path = our_path(match, self.path)
        named = name_of(raw_value(cfg, path))
        ours, expected = value_at(cfg, path), theirs if named is None else _last_name(theirs)
        assert ours == expected, f"{path} is {ours!r}, not {expected!r}"


@dataclasses.dataclass(frozen=True)
class Becomes:
    """It stands at our path in another form, that which `form` makes of theirs: `because`."""

    pattern: str
    path: str
    form: Callable[[Any], Any]
    because: str

    def check(self, cfg: ConfigBase, match: re.Match[str], theirs: Any) -> None:
        path, expected = our_path(match, self.path), self.form(theirs)
        ours = value_at(cfg, path)
        assert ours == expected, f"{path} is {ours!r}, not {expected!r}"


@dataclasses.dataclass(frozen=True)
class Differs:
    """Our design has no such field, `because`; at our path is what there is instead."""

    pattern: str
    path: str
    ours: Any
    because: str

    def check(self, cfg: ConfigBase, match: re.Match[str], theirs: Any) -> None:
        path = our_path(match, self.path)
        ours = value_at(cfg, path)
        assert ours == self.ours, f"{path} is {ours!r}, not {self.ours!r}"


@dataclasses.dataclass(frozen=True)
class Checked:
    """It has its own check: `check(cfg, groups, theirs)` asserts."""

    pattern: str
    own_check: Callable[[ConfigBase, tuple[Any, ...], Any], None]

    def check(self, cfg: ConfigBase, match: re.Match[str], theirs: Any) -> None:
        self.own_check(cfg, match.groups(), theirs)


def our_path(match: re.Match[str], template: str) -> str:
    """Return our path, with keys in our quotes."""
    return match.expand(template).replace("'", '"')


def value_at(cfg: ConfigBase, path: str) -> Any:
    """Return the value at a path; of a class, function or dtype its name."""
    value = raw_value(cfg, path)
    name = name_of(value)
    return value if name is None else name


def raw_value(cfg: ConfigBase, path: str) -> Any:
    """Return the value at a path."""
    return get(cfg, parse_path(path))


def name_of(value: Any) -> str | None:
    """Return the name of a class, function or dtype; None of anything else."""
    if isinstance(value, np.dtype):
        return value.name
    return getattr(value, "__name__", None)


def _last_name(symbol: str) -> str:
    return symbol.rpartition(".")[2]
