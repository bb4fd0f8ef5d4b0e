"""What rules call too small is too small by every mesh, with the least kept and the most parts."""

import re

import pytest

from axl_exp.cli import rare_collections
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.dryrun.search.settings import REMATS, Settings, accumulations, meshes
from axl_exp.errors import UserError
from axl_exp.mesh import TooSmallError, parse_selector, select_rule
from axl_exp.registry import list_configs, load_config, load_mesh_rules
from axl_exp.resolve import resolve

SPARE = 0.05
"""What a rule leaves free at least, by plan."""
RULES = load_mesh_rules(module=None)
# Variants have the layouts of what they vary.
CONFIGS = [name for name in list_configs(module=None) if not re.search("-(flash|fp8)$", name)]
MOST_FRUGAL = next(remat for remat in REMATS if not remat.save and not remat.offload)


def too_small(config):
    """Of each hardware the largest that is too small."""
    largest = {}
    for rule in RULES:
        if not re.fullmatch(rule.configs, config) or not rule.smallest.startswith(("tpu", "gpu")):
            continue
        for selector in rule.selector.split("|"):
            try:
                select_rule(RULES, selector=selector, config=config)
            except TooSmallError:
                hardware, _, number = selector.rpartition("-")
                largest[hardware] = max(largest.get(hardware, 0), int(number))
    return [f"{hardware}-{number}" for hardware, number in largest.items()]


def assert_too_small(config):
    fitting = [each for each in too_small(config) if least_share(config, each) <= 1 - SPARE]
    assert not fitting


def least_share(config, selector):
    """The least of the memory that any layout takes, by plan."""
    hardware = parse_selector(selector)
    cfg = load_config(config).config
    rows = cfg.input.global_batch_size
    layer = cfg.model.decoder.transformer.layer
    shares = []
    for mesh in meshes(hardware, rows=rows, num_heads=layer.self_attention.attention.num_heads):
        remat = None if layer.remat_spec is None else MOST_FRUGAL
        settings = Settings(mesh, remat, accumulations(mesh, rows=rows)[-1])
        rule = settings.rule(selector=selector, config=config)
        try:
            memory = plan_dry_run(resolve(config, selector=selector, rule=rule)).memory
        except UserError:  # What does not divide is no layout.
            continue
        assert memory.available_bytes is not None
        shares.append(memory.total_bytes / memory.available_bytes)
    return min(shares)


@pytest.mark.parametrize("config", ["fuji-1B-v3", "fuji-3B-v3", "honeycrisp-3B"])
def test_what_rules_call_too_small_for_small_models_is(config):
    assert too_small(config)
    assert_too_small(config)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_what_rules_call_too_small_is(config):
    with rare_collections():
        assert_too_small(config)
