"""The search against all settings of a small hardware, and its rule against itself."""

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest

import axl_exp.mesh
from axl_exp.config import Override
from axl_exp.config.text import config_text
from axl_exp.dryrun.search.__main__ import main
from axl_exp.dryrun.search.rule_text import rule_text
from axl_exp.dryrun.search.search import HEADROOM, Question, planned_by_rule, search
from axl_exp.dryrun.search.settings import REMATS, Settings, accumulations, meshes, settings_of
from axl_exp.dryrun.search.show import paste_text
from axl_exp.errors import UserError
from axl_exp.mesh import (
    HybridMeshShape,
    MeshShape,
    SetFields,
    axis_sizes,
    parse_selector,
    select_rule,
)
from axl_exp.registry import load_mesh_rules
from axl_exp.resolve import resolve


def pasted(text):
    """The rule that the text makes, as a file of mesh_rules/ would."""
    names: dict[str, Any] = {"__name__": "mesh_rules.gpu"} | {
        name: getattr(axl_exp.mesh, name) for name in axl_exp.mesh.__all__
    }
    exec(f"RULES = (\n{text})", names)  # noqa: S102 - what a user does with it
    (rule,) = names["RULES"]
    return rule


def made_up(resolved):
    """A plan whose figures follow from the settings by simple formulas."""
    settings = settings_of(resolved.config)
    sizes = axis_sizes(settings.mesh)
    shards, rows = sizes["fsdp"] * sizes["model"], sizes["data"] * sizes["fsdp"]
    assert settings.remat is not None
    kept = {"everything kept": 16, "products kept": 11, "inputs kept alone": 2}
    kept_bytes = kept.get(settings.remat.name, 6) * 2**38 / rows / settings.accumulation_steps
    compute = 100 - kept.get(settings.remat.name, 6)
    link = settings.accumulation_steps * sizes["fsdp"] + 40 * (sizes["model"] - 1)
    if sizes["model"] == 8:
        raise UserError("does not divide")
    memory = SimpleNamespace(total_bytes=2**36 / shards + kept_bytes, available_bytes=2**34)
    seconds = {"compute": compute, "ici": link}
    roofline = SimpleNamespace(step_seconds=max(compute, link), seconds=seconds)
    plan = SimpleNamespace(memory=memory, roofline=roofline, mesh="")
    return SimpleNamespace(plan=plan, compiled=None, fits=True)


def with_what_shows(roofline):
    """A tenth of all that is done beside the longest."""
    return 0.9 * roofline.step_seconds + 0.1 * sum(roofline.seconds.values())


def test_the_best_is_the_best_of_all_settings(monkeypatch):
    """By trying every one of them, on a hardware whose figures are made up."""
    monkeypatch.setattr("axl_exp.dryrun.search.search.dry_run", made_up)
    hardware = parse_selector("tpu-v5e-16")
    overrides = (Override("input.global_batch_size", "64"),)
    question = Question(config="fuji-1B-v3", hardware=hardware, overrides=overrides)
    answer = search(question, top=3)
    times, num_settings = [], 0
    for mesh in meshes(hardware, rows=64, num_heads=32):
        for remat in REMATS:
            for parts in accumulations(mesh, rows=64):
                num_settings += 1
                rule = Settings(mesh, remat, parts).rule(selector="tpu-v5e-16", config="fuji-1B-v3")
                try:
                    plan = made_up(planned_by_rule(question, rule=rule)).plan
                except UserError:
                    continue
                if plan.memory.total_bytes <= (1 - HEADROOM) * plan.memory.available_bytes:
                    times.append(with_what_shows(plan.roofline))
    assert answer.best is not None
    assert with_what_shows(answer.best.run.plan.roofline) == min(times)
    assert answer.num_planned < num_settings / 2


@pytest.fixture(scope="module")
def answer():
    hardware = parse_selector("gpu-h100-2")
    overrides = (Override("input.global_batch_size", "16"),)
    question = Question("fuji-1B-v3-single-host", hardware, overrides)
    return search(question, top=3)


def test_the_rule_that_is_pasted_is_selected_and_resolves_to_what_was_searched(answer):
    rule = pasted(rule_text(answer.best.rule, comment="Found."))
    rules = (rule, *load_mesh_rules(module=None))
    assert select_rule(rules, selector="gpu-h100-2", config="fuji-1B-v3-single-host") is rule
    config = resolve("fuji-1B-v3-single-host", selector="gpu-h100-2", rule=rule).config
    searched = resolve("fuji-1B-v3-single-host", selector="gpu-h100-2", rule=answer.best.rule)
    assert config_text(config) == config_text(searched.config)
    assert config.accumulation_steps == answer.best.settings.accumulation_steps


def test_compiler_options_are_pasted_a_line_each_as_the_formatter_has_them():
    options = SetFields({"compiler_options": {"xla_a": "true", "xla_b": 98304}})
    rule = Settings(MeshShape(fsdp=4), REMATS[0], 2).rule(
        selector="tpu-v5e-4", config="a", others=(options,)
    )
    text = rule_text(rule, comment="Found.")
    assert pasted(text) == rule
    assert max(map(len, text.splitlines())) <= 100
    assert '                        "xla_b": 98304,\n' in text


def test_where_nothing_can_be_compiled_the_reason_is_the_answer(monkeypatch):
    def without_compiler(resolved, *, level="plan", progress=None):
        if level == "compile":
            raise UserError("libtpu is not installed")
        return made_up(resolved)

    monkeypatch.setattr("axl_exp.dryrun.search.search.dry_run", without_compiler)
    overrides = (Override("input.global_batch_size", "64"),)
    question = Question("fuji-1B-v3", parse_selector("tpu-v5e-16"), overrides)
    with pytest.raises(UserError, match="libtpu is not installed"):
        search(question, level="compile", top=2)


def test_a_rule_of_several_slices_with_other_fields_is_pasted_whole():
    shape = HybridMeshShape(ici=MeshShape(fsdp=64, model=4), dcn=MeshShape(fsdp=2))
    others = (SetFields({"seed": 7}), axl_exp.mesh.SetBatchPerDevice(2))
    rule = Settings(shape, REMATS[-1], 4).rule(
        selector="tpu-v5e-256-2", config="a.b", others=others
    )
    again = pasted(rule_text(rule, comment="Found."))
    assert again == rule
    assert again.matches(selector="tpu-v5e-256-2", config="a.b")
    assert not again.matches(selector="tpu-v5e-256-2", config="a-b")


def test_a_search_never_ends_below_todays_rule(answer):
    assert answer.today is not None
    assert bool(paste_text(answer)) == (answer.best.step_seconds < answer.today.step_seconds)


@pytest.mark.parametrize("selector", ["tpu-v5e-16", "tpu-v5e-256-2", "gpu-h100-16"])
def test_every_mesh_has_all_devices_and_divides_rows_and_heads(selector):
    hardware = parse_selector(selector)
    shapes = list(meshes(hardware, rows=64, num_heads=8))
    assert shapes
    for shape in shapes:
        sizes = axis_sizes(shape)
        assert math.prod(sizes.values()) == hardware.num_devices
        assert 64 % (sizes["data"] * sizes["fsdp"]) == 0
        assert 8 % sizes["model"] == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--mesh=cpu-8"], "cpu-8 has none"),
        (["--mesh=tpu-v5e-4", "--config.mesh_shape.fsdp=2"], "a search chooses that itself"),
        (["--mesh=tpu-v9-4"], "'v9'"),
    ],
)
def test_a_search_without_an_answer_is_one_line(flags, told, capsys):
    assert main(["--config=fuji-tiny", *flags]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_an_answer_in_markdown_has_the_rule_as_a_block_of_code(answer, monkeypatch, capsys):
    found = dataclasses.replace(answer, today=None)
    monkeypatch.setattr("axl_exp.dryrun.search.search.search", lambda *_, **__: found)
    assert main(["--config=fuji-1B-v3-single-host", "--mesh=gpu-h100-2", "--md"]) == 0
    told = capsys.readouterr().out
    assert "\n| 1 | fsdp=2 |" in told or "\n| 1 | data=2 |" in told
    assert told.endswith(f"```python\n{paste_text(found)}```\n")
