"""A golden: all that is reviewed of one config."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from axl_exp.config.diff import Change
from axl_exp.errors import UserError


class GoldenError(UserError):
    """A golden that cannot be made or read."""


@dataclasses.dataclass(frozen=True)
class MeshGolden:
    """What a mesh rule makes of a config on one hardware."""

    changes: tuple[Change, ...]
    """From the config's own flat text."""
    facts: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Golden:
    """All that is reviewed of one config. Every mapping is in the order of its file."""

    config: dict[str, str]
    """The flat text: path -> text of the value."""
    facts: dict[str, str]
    params: dict[str, str]
    """Path of a parameter -> what is said of it."""
    meshes: dict[str, MeshGolden]
    """By hardware selector."""


Goldens = dict[str, Golden]
"""Goldens by the name of their config."""


def base_of(name: str, names: Iterable[str]) -> str | None:
    """Return the config that `name` is a variant of: the longest of `names` it begins with.

    `fuji-7B-v2-single-host` is a variant of `fuji-7B-v2`; a hyphen must follow.
    """
    return max((n for n in names if name.startswith(f"{n}-")), key=len, default=None)
