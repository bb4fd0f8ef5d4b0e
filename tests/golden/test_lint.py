import sys
from pathlib import Path

import pytest

from axl_exp.golden.__main__ import main
from axl_exp.golden.lint import lint

HEAD = """\
from axl_exp.mesh import LimitFields, MeshRule, MeshShape, SetFields, SetMeshShape
from axl_exp.registry import load_config
def _tiny(**fields):
    return load_config("fuji-tiny").config.set(**fields)
def named_trainer_configs():
    return CONFIGS
def mesh_rules():
    return RULES
RULES = ()
CONFIGS = {}
"""
MESH = "SetMeshShape(MeshShape(fsdp=-1))"


@pytest.fixture
def lint_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lints a module of one's own; its findings without the folder."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_rules", raising=False)

    def run(source: str) -> list[str]:
        (tmp_path / "own_rules.py").write_text(HEAD + source)
        return [finding.replace(f"{tmp_path}/", "") for finding in lint(module="own_rules")]

    return run


def rule(selector: str, configs: str, *modifiers: str, golden: str = "()") -> str:
    joined = "".join(f"{modifier}, " for modifier in modifiers)
    return (
        f"MeshRule(selector={selector!r}, configs={configs!r}, modifiers=({joined}), "
        f"golden_selectors={golden}),"
    )


def test_this_repository_has_no_findings():
    assert lint(module=None) == []


def test_a_rule_that_no_config_or_no_hardware_matches(lint_of):
    assert lint_of(
        f"RULES = (\n{rule('cpu-4', 'fudge-.*', MESH)}\n{rule('cpu-3-3', 'fuji-.*', MESH)}\n)\n"
    ) == [
        "own_rules.py:12: the rule for 'fudge-.*' on 'cpu-4' matches no config",
        "own_rules.py:13: the rule for 'fuji-.*' on 'cpu-3-3' matches no hardware",
    ]


def test_a_rule_and_a_golden_selector_that_an_earlier_rule_takes(lint_of):
    assert lint_of(
        "RULES = (\n"
        + rule("cpu-(4|8)", "fuji-.*", MESH)
        + "\n"
        + rule("cpu-4", "fuji-tiny", MESH)
        + "\n"
        + rule("cpu-(2|8)", "fuji-.*", MESH, golden='("cpu-2", "cpu-8")')
        + "\n)\n"
    ) == [
        "own_rules.py:13: the rule for 'fuji-tiny' on 'cpu-4' is never reached: own_rules.py:12 "
        "matches first",
        "own_rules.py:14: the rule for 'fuji-.*' on 'cpu-(2|8)' is never reached on its golden "
        "selector cpu-8",
    ]


def test_a_modifier_that_changes_no_config(lint_of):
    idle, busy = 'LimitFields({"max_step": 10**9})', 'LimitFields({"max_step": 3})'
    assert lint_of(f"RULES = (\n{rule('cpu-4', 'fuji-.*', MESH, busy, idle)}\n)\n") == [
        "own_rules.py:12: the rule for 'fuji-.*' on 'cpu-4': LimitFields (number 3) changes no "
        "config"
    ]


def test_a_field_of_a_modifier_that_changes_no_config(lint_of):
    some = 'SetFields({"max_step": 3, "accumulation_steps": 1})'
    assert lint_of(f"RULES = (\n{rule('cpu-4', 'fuji-.*', MESH, some)}\n)\n") == [
        "own_rules.py:12: the rule for 'fuji-.*' on 'cpu-4': SetFields of accumulation_steps "
        "(number 2) changes no config"
    ]


def test_a_field_that_two_modifiers_of_a_rule_set(lint_of):
    modifiers = 'SetFields({"max_step": 3, "seed": 4})', 'SetFields({"max_step": 5})'
    assert lint_of(f"RULES = (\n{rule('cpu-4', 'fuji-tiny', MESH, *modifiers)}\n)\n") == [
        "own_rules.py:12: the rule for 'fuji-tiny' on 'cpu-4': modifier 2 sets max_step and "
        "modifier 3 sets it again; keep one"
    ]


def test_two_names_of_one_config(lint_of):
    assert lint_of(
        'CONFIGS = {"own": lambda: _tiny(seed=1), "own-fp8": lambda: _tiny(seed=1)}\n'
    ) == ["own-fp8 is the same config as own: make it different, or an alias of it"]


def test_a_field_that_one_function_of_a_recipe_sets_twice(lint_of):
    assert lint_of(
        "def _twice():\n"
        "    cfg = _tiny(seed=1)\n"
        "    cfg.seed = 2\n"
        "    cfg.seed = 3\n"
        "    return cfg\n"
        'CONFIGS = {"own": _twice}\n'
    ) == [
        "own: own_rules.py:11 _twice() sets seed of SpmdTrainer.Config at own_rules.py:13 and "
        "again at own_rules.py:14; keep one"
    ]


def test_a_variant_may_change_what_its_base_sets(lint_of):
    assert (
        lint_of(
            "def _variant():\n"
            "    cfg = _tiny(seed=1)\n"
            "    cfg.seed = 2\n"
            "    return cfg\n"
            'CONFIGS = {"own": lambda: _tiny(seed=1), "own-other": _variant}\n'
        )
        == []
    )


def test_a_finding_fails_lint_and_check_of_everything(tmp_path, monkeypatch, capsys, lint_of):
    lint_of('CONFIGS = {"own": lambda: _tiny(seed=1), "own-x": lambda: _tiny(seed=1)}\n')
    monkeypatch.chdir(tmp_path)
    finding = "own-x is the same config as own: make it different, or an alias of it\n"
    capsys.readouterr()
    assert main(["lint", "--module=own_rules"]) == 1
    assert capsys.readouterr().out == finding
    assert main(["update", "--module=own_rules"]) == 0
    capsys.readouterr()
    assert main(["check", "--module=own_rules"]) == 1
    assert capsys.readouterr().out == finding
    assert main(["check", "own", "--module=own_rules"]) == 0
