"""Many dry runs: every config on every hardware that its rules are written for."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from axl_exp.config import Override
from axl_exp.dryrun.dry_run import DryRun, Level, dry_run
from axl_exp.dryrun.workers import map_in_processes
from axl_exp.errors import UserError
from axl_exp.mesh import MeshRule, TooSmallError, parse_selector, select_rule
from axl_exp.registry import list_configs, load_config, load_mesh_rules
from axl_exp.resolve import resolve


class NothingToSweepError(UserError):
    """No config or no hardware matches."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one config on one hardware: a dry run, or why there is none."""

    config: str
    selector: str
    run: DryRun | None
    error: str = ""
    smallest: str = ""
    """Where the error is that nothing makes the config fit: the smallest hardware that does."""

    @property
    def verdict(self) -> str:
        """`fits`, `does not fit` or `error`."""
        if self.run is None:
            return "does not fit" if self.smallest else "error"
        return "fits" if self.run.fits else "does not fit"

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        if self.run is None:
            pair = {"config": self.config, "selector": self.selector}
            return {**pair, "fits": False, "error": self.error}
        return self.run.to_json()


def swept_selectors(rules: Sequence[MeshRule], *, config: str) -> list[str]:
    """Return the selectors that the rules of `config` are written for, those of CPUs left out."""
    return sorted(
        selector
        for rule in rules
        if re.fullmatch(rule.configs, config)
        for selector in (*rule.golden_selectors, *rule.planned_selectors)
        if not selector.startswith("cpu-")
        and select_rule(rules, selector=selector, config=config) is rule
    )


def is_pattern(text: str) -> bool:
    """Return whether a name of a sweep is a glob."""
    return bool(set(text) & set("*?["))


def find_pairs(
    *, config: str | None, mesh: str | None, module: str | None
) -> list[tuple[str, str]]:
    """Return the (config, selector) pairs that two globs ask for.

    A selector without `*`, `?` or `[` is taken as it is, on every config of the glob.

    Raises:
        NothingToSweepError: There is none.
        UnknownConfigError: A name that is taken as it is names no config.
        UnknownHardwareError: A selector that is taken as it is names no hardware.
    """
    rules = load_mesh_rules(module=module)
    if config and not is_pattern(config):
        configs = [load_config(config, module=module).name]
    else:
        configs = [n for n in list_configs(module=module) if fnmatch.fnmatch(n, config or "*")]
    if not configs:
        raise NothingToSweepError(f"No config matches --config={config}.")
    if mesh and not is_pattern(mesh):
        parse_selector(mesh)  # One word for all rows.
        return [(name, mesh) for name in configs]
    pairs = [
        (name, selector)
        for name in configs
        for selector in swept_selectors(rules, config=name)
        if fnmatch.fnmatch(selector, mesh or "*")
    ]
    if not pairs:
        raise NothingToSweepError(
            f"No rule of {config or 'any config'} is written for hardware like {mesh!r}; a "
            "selector without * is tried as it is."
        )
    return pairs


def like_pairs_together(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `pairs` in an order in which those that may share a traced step are neighbours.

    Variants of a config do on one hardware, and a config on chips of one platform.
    """

    def likeness(pair: tuple[str, str]) -> tuple[str, int, str, str]:
        name, selector = pair
        hardware = parse_selector(selector)
        return hardware.platform, hardware.num_devices, name, selector

    return sorted(pairs, key=likeness)


def sweep(
    pairs: Sequence[tuple[str, str]],
    *,
    overrides: Sequence[Override] = (),
    module: str | None = None,
    level: Level = "plan",
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Row]:
    """Yield the row of every pair; what is wrong with one does not stop the others.

    Plans are made in as many processes as there are cores, those of like pairs one after the other;
    compiled programs in the order of `pairs`: a compiler takes all cores by itself.
    """
    make = functools.partial(_row, overrides=tuple(overrides), module=module)
    if level == "plan":
        for row in map_in_processes(make, like_pairs_together(pairs)):
            say(f"{row.config} on {row.selector}")
            yield row
        return
    for name, selector in pairs:
        say(f"{name} on {selector}")
        yield make((name, selector), level=level, progress=progress)


def _row(
    pair: tuple[str, str],
    *,
    overrides: Sequence[Override],
    module: str | None,
    level: Level = "plan",
    progress: Callable[[str, float], None] | None = None,
) -> Row:
    name, selector = pair
    try:
        resolved = resolve(name, selector=selector, overrides=overrides, module=module)
        return Row(name, selector, dry_run(resolved, level=level, progress=progress))
    except TooSmallError as error:
        return Row(name, selector, None, str(error), error.smallest)
    except UserError as error:
        return Row(name, selector, None, str(error))
