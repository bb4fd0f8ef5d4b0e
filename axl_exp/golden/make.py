"""From configs to their goldens, and to everything that mesh rules make of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from axl_exp.config.text import flatten
from axl_exp.errors import UserError
from axl_exp.golden.facts import config_facts, mesh_facts
from axl_exp.golden.golden import Golden, GoldenError, Goldens, MeshGolden
from axl_exp.golden.params import params_text
from axl_exp.golden.program import Programs
from axl_exp.mesh import MeshRule, select_rule
from axl_exp.registry import load_mesh_rules
from axl_exp.resolve import resolve


def make_goldens(names: Iterable[str], *, module: str | None) -> Goldens:
    """Return the goldens of the configs `names`, computed without touching a device.

    Raises:
        UserError: A config does not resolve; the message names it and the hardware.
    """
    rules = load_mesh_rules(module=module)
    programs = Programs()
    goldens = {}
    for name in names:
        try:
            cfg = resolve(name, module=module).config
        except UserError as error:
            raise GoldenError(f"{name}: {error}") from error
        facts = config_facts(cfg, programs)  # First: what meshes make of it has the same trace.
        meshes = {}
        for selector in golden_selectors(rules, config=name):
            try:
                there = resolve(name, selector=selector, module=module)
            except UserError as error:
                raise GoldenError(f"{name} on {selector}: {error}") from error
            assert there.hardware is not None
            meshes[selector] = MeshGolden(
                there.mesh_changes, mesh_facts(there.config, there.hardware, programs)
            )
        goldens[name] = Golden(
            config=flatten(cfg),
            facts=facts,
            params=params_text(cfg, programs),
            meshes=meshes,
        )
    return goldens


def golden_selectors(rules: Sequence[MeshRule], *, config: str) -> list[str]:
    """Return the selectors on which `config` is reviewed: those that its rules are written for."""
    return sorted(
        selector
        for rule in rules
        if re.fullmatch(rule.configs, config)
        for selector in rule.golden_selectors
        if select_rule(rules, selector=selector, config=config) is rule
    )
