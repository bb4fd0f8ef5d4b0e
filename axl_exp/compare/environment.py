"""Where two runs' environments differ: by what each fact is of, and by what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a difference between two environments means for the numbers."""

    CONFOUNDER = "confounder"  # It may explain a change, and is not what is being compared.
    DECLARED = "declared"  # The thing under test: the user or the config says so.
    HARMLESS = "harmless"  # It cannot change a number.


class Group(StrEnum):
    """What a fact is of, in the order of the report."""

    PACKAGES = "packages"
    PYTHON = "Python"
    FLAGS = "flags"  # Of XLA, JAX, libtpu and the C library.
    HARDWARE = "hardware"
    HOST = "host"
    CODE = "git"
    DATA = "data"
    RUN = "run"


# The first pattern that a fact's whole name matches; one that none matches is of the run.
_GROUPS = (
    (r"versions\.python", Group.PYTHON),
    (r"versions\..*", Group.PACKAGES),
    (r"xla_flags|jax_flags\..*|glibc_tunables", Group.FLAGS),
    (r"hardware\.host\..*|host|host\..*", Group.HOST),
    (r"hardware\..*", Group.HARDWARE),
    (r"git\..*|git", Group.CODE),
    (r"data\..*|embedded_data", Group.DATA),
)
# What the names of each kind stand behind.
_BEFORE = {
    Kind.CONFOUNDER: "confounded by",
    Kind.DECLARED: "under test",
    Kind.HARMLESS: "harmless",
}


@dataclass(frozen=True)
class Difference:
    """One fact of the environment that is not the same on both sides."""

    what: str
    a: str
    b: str
    kind: Kind
    group: Group = Group.RUN


def group_of(fact: str) -> Group:
    """Return what a fact of an env.json, by dotted name, is of."""
    return next((group for pattern, group in _GROUPS if re.fullmatch(pattern, fact)), Group.RUN)


def grouped(differences: Sequence[Difference]) -> list[tuple[Group, list[Difference]]]:
    """Return the differences by group, those without any left out."""
    by_group = {group: [d for d in differences if d.group is group] for group in Group}
    return [(group, found) for group, found in by_group.items() if found]


def counts_told(differences: Sequence[Difference]) -> str:
    """Return how many differences there are of each kind."""
    counts = {kind: sum(d.kind is kind for d in differences) for kind in Kind}
    several = {Kind.CONFOUNDER: "confounders"}
    told = [f"{n} {several.get(kind, kind) if n > 1 else kind}" for kind, n in counts.items() if n]
    return ", ".join(told) or "the environments are the same"


def by_kind(differences: Sequence[Difference]) -> list[tuple[str, list[Difference]]]:
    """Return what the differences of each kind stand behind, and those differences."""
    found = {kind: [d for d in differences if d.kind is kind] for kind in Kind}
    return [(_BEFORE[kind], same) for kind, same in found.items() if same]
