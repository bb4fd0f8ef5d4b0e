"""Whether what layers are told to keep is there: a pattern that matches nothing keeps nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from axl_exp.dryrun.program import Program
from axl_exp.errors import UserError
from axl_exp.model.remat import name_of_values


class NothingKeptError(UserError):
    """A remat_spec names values that no layer has."""


def check_kept_names(cfg: Any, program: Program) -> None:
    """Raise NothingKeptError if a `remat_spec` of `cfg` matches no named value of the program."""
    names = _all_names(program)

    def check(path: str, value: Any) -> None:
        owner, _, field = path.rpartition(".")
        if not owner.endswith("remat_spec") or field not in ("save", "offload") or not value:
            return
        if names and not any(re.fullmatch(value, name) for name in names):
            raise NothingKeptError(
                f"{path}: {value!r} matches no value of the layers. There are: {', '.join(names)}."
            )

    cfg.visit(check)


@functools.lru_cache(maxsize=2)  # Neighbours in a sweep share one.
def _all_names(program: Program) -> tuple[str, ...]:
    return tuple(sorted(set(_names(program))))


def _names(program: Program) -> Iterator[str]:
    for op in program.ops:
        name = name_of_values(op.name, op.params)
        if name:
            yield name
        elif op.name in ("scan", "while", "cond", "shard_map"):
            yield from _names(op.body)
