import re

import pytest

from axl_exp.config import ConfigBase, config_class
from axl_exp.mesh import (
    BadMeshRuleError,
    LimitFields,
    MeshRule,
    MeshShape,
    NoMeshRuleError,
    SetBatchPerDevice,
    SetFields,
    SetMeshShape,
    apply_rule,
    parse_selector,
    select_rule,
)


@config_class
class TinyInput(ConfigBase):
    global_batch_size: int = 1024
    max_sequence_length: int = 4096


@config_class
class TinyTrainer(ConfigBase):
    mesh_shape: MeshShape = MeshShape(data=-1, fsdp=8)
    max_step: int = 1000
    input: TinyInput = TinyInput()
    evalers: dict[str, TinyInput] = {}


def rule(selector: str, configs: str = ".*", *modifiers, golden=()) -> MeshRule:
    return MeshRule(
        selector=selector, configs=configs, modifiers=modifiers, golden_selectors=golden
    )


def test_the_first_rule_that_matches_wins():
    rules = [rule("tpu-v5e-256-4"), rule("tpu-v5e-256-.*"), rule(".*")]
    assert select_rule(rules, selector="tpu-v5e-256-4", config="fuji-7B-v2") is rules[0]
    assert select_rule(rules, selector="tpu-v5e-256-2", config="fuji-7B-v2") is rules[1]


def test_patterns_match_whole_names_only():
    rules = [rule("tpu-v5e-256", "fuji-7B"), rule("tpu-v5e-256-4", "fuji-7B-v2")]
    assert select_rule(rules, selector="tpu-v5e-256-4", config="fuji-7B-v2") is rules[1]


def test_no_rule_is_an_error_that_lists_what_was_tried_for_this_config():
    rules = [rule("tpu-v4-(1024|2048)"), rule("cpu-.*"), rule("tpu-v6e-.*", "gala-.*")]
    text = (
        "No mesh rule for fuji-7B-v2 on tpu-v4-64. Tried: tpu-v4-(1024|2048). "
        "Choose one of these with --mesh, or add a rule to mesh_rules/ or to your --module."
    )
    with pytest.raises(NoMeshRuleError, match=f"^{re.escape(text)}$"):
        select_rule(rules, selector="tpu-v4-64", config="fuji-7B-v2")


def test_a_golden_selector_that_its_rule_does_not_match_is_refused():
    with pytest.raises(BadMeshRuleError, match=r"cpu-1 does not match its selector, 'tpu-\.\*'\.$"):
        rule("tpu-.*", golden=("cpu-1",))


def test_a_rule_applies_its_modifiers_in_order_and_leaves_the_config_as_it_was():
    cfg = TinyTrainer()
    smoke = rule(
        "cpu-.*",
        ".*",
        SetMeshShape(MeshShape(fsdp=-1)),
        LimitFields({"max_step": 3, "input.max_sequence_length": 8192}),
        SetBatchPerDevice(2),
        SetFields({"input.max_sequence_length": 128}),
    )
    changed = apply_rule(smoke, cfg, hardware=parse_selector("cpu-4"))
    assert changed.mesh_shape == MeshShape(fsdp=-1)
    assert changed.max_step == 3
    assert changed.input.global_batch_size == 8
    assert changed.input.max_sequence_length == 128
    assert cfg == TinyTrainer()


def test_a_limit_lowers_but_never_raises():
    smoke = rule("cpu-.*", ".*", LimitFields({"max_step": 3000}))
    assert apply_rule(smoke, TinyTrainer(), hardware=parse_selector("cpu-1")).max_step == 1000


def test_a_star_stands_for_every_key_of_a_mapping():
    cfg = TinyTrainer(evalers={"a": TinyInput(), "b": TinyInput(max_sequence_length=64)})
    smoke = rule(
        "cpu-.*",
        ".*",
        LimitFields({"evalers.*.max_sequence_length": 128}),
        SetFields({"evalers.*.global_batch_size": 2}),
    )
    changed = apply_rule(smoke, cfg, hardware=parse_selector("cpu-1"))
    sizes = {name: each.max_sequence_length for name, each in changed.evalers.items()}
    assert sizes == {"a": 128, "b": 64}
    assert {each.global_batch_size for each in changed.evalers.values()} == {2}
    assert apply_rule(smoke, TinyTrainer(), hardware=parse_selector("cpu-1")) == TinyTrainer()


def test_a_field_that_a_rule_sets_remembers_the_rule_and_its_line():
    smoke = rule("cpu-.*", ".*", LimitFields({"max_step": 3}))
    cfg = apply_rule(smoke, TinyTrainer(), hardware=parse_selector("cpu-1"))
    (write,) = cfg.writes("max_step")
    assert (write.by, write.where, write.value) == ("mesh rule cpu-1", smoke.defined_at, 3)
    assert re.fullmatch(r".*test_rules\.py:\d+", smoke.defined_at)
