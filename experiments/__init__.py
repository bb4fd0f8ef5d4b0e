"""Families of configs. Each is a package with `named_trainer_configs()`; this one collects them."""

from __future__ import annotations

from collections.abc import Callable

from axl_exp.config import ConfigBase
from axl_exp.suite.definition import Suite
from experiments import core, fuji, gala, honeycrisp

_FAMILIES = (core, fuji, gala, honeycrisp)


def named_trainer_configs() -> dict[str, Callable[[], ConfigBase]]:
    """Return the functions that make each config, by name."""
    return {
        name: make for family in _FAMILIES for name, make in family.named_trainer_configs().items()
    }


def config_aliases() -> dict[str, str]:
    """Return shorter names, each with the config that it means."""
    return fuji.config_aliases()


def named_suites() -> tuple[Suite, ...]:
    """Return the suites of cases that compare two commits."""
    return core.named_suites()
