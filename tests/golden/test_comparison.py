import dataclasses
import io

import pytest
from rich.console import Console

from axl_exp.config.diff import Changed, diff
from axl_exp.golden.comparison import compare_goldens
from axl_exp.golden.golden import Golden, MeshGolden
from axl_exp.golden.quantity import describe_ratio, describe_value
from axl_exp.golden.render import MAX_MARKDOWN_BYTES, as_markdown, as_text, print_text
from axl_exp.report.terminal import make_console

CONFIG = {
    "input.max_sequence_length": "4096",
    "learner.optimizer.fn": "@axl_exp.optim.adamw:adamw",
    "learner.optimizer.learning_rate": "0.0003",
    "log_every_n_steps": "10",
    "mesh_shape.fsdp": "8",
    "model.eps": "1e-05",
    "seed": "0",
}
PARAM = "float32[32768, 4096], axes (vocab, embed), init normal(0.01563), decay 3e-05, scale 1"
FACTS = {"params": "6,610,489,344", "params_bytes": "26,441,957,376", "checkpoints": "never"}


def golden(*, fsdp: str = "8", facts=None, param: str = PARAM, **fields: str) -> Golden:
    config = {**CONFIG, **{name.replace("__", "."): text for name, text in fields.items()}}
    there = {**config, "mesh_shape.fsdp": fsdp}
    meshes = {"tpu-v5e-256": MeshGolden(tuple(diff(config, there)), {})}
    return Golden(config, {**FACTS, **(facts or {})}, {"emb/weight": param}, meshes)


def test_a_change_of_everything_is_told_by_what_it_can_have_an_effect_on():
    before = {name: golden() for name in ("a-7B", "b-7B", "c-7B", "d-7B", "gone")}
    edit = {"learner__optimizer__learning_rate": "0.0001"}
    facts = {"params": "6,696,425,705", "params_bytes": "26,785,702,822", "checkpoints": "always"}
    after = {name: golden(**edit) for name in ("a-7B", "b-7B", "c-7B", "new")}
    after["d-7B"] = golden(
        **edit,
        facts=facts,
        fsdp="256",
        param=PARAM.replace("32768", "40000").replace("3e-05", "0"),
        model__eps="1e-06",
        log_every_n_steps="20",
        learner__optimizer__fn="@axl_exp.optim.new_place:adamw",
        input__max_sequence_length="8192",
        seed="3",
    )
    assert as_text(compare_goldens(before, after)) == (
        "numerics\n"
        "  d-7B:\n"
        "    model.eps: 1e-05 -> 1e-06 (/ 10)\n"
        "    seed: 0 -> 3\n"
        "optimizer\n"
        "  4 configs such as a-7B: learner.optimizer.learning_rate: 0.0003 -> 0.0001 (/ 3)\n"
        "data\n"
        "  d-7B: input.max_sequence_length: 4096 -> 8192 (x 2)\n"
        "parallelism\n"
        "  d-7B on tpu-v5e-256: mesh_shape.fsdp: 8 -> 256 (x 32)\n"
        "io\n"
        "  d-7B: log_every_n_steps: 10 -> 20 (x 2)\n"
        "parameters\n"
        "  d-7B: emb/weight: float32[32768, 4096] -> float32[40000, 4096], decay 3e-05 -> 0\n"
        "renamed\n"
        "  d-7B: @axl_exp.optim.adamw:adamw -> @axl_exp.optim.new_place:adamw\n"
        "new configs\n"
        "  new\n"
        "gone configs\n"
        "  gone\n"
        "facts\n"
        "  d-7B: params 6.61 B -> 6.70 B (+1.3 %), params bytes 24.6 GiB -> 24.9 GiB (+1.3 %), "
        "checkpoints never -> always\n"
    )


def test_a_terminal_shows_long_lines_whole_and_what_is_new_or_gone_in_colour():
    text = (
        "data\n  a: + input.new: 1\n  b:\n    - input.old: 2\n    input.size: 1 -> 2\n"
        f"    + input.long: {'x' * 100}\n"
    )
    plain = make_console(io.StringIO(), width=40)
    print_text(plain, text)
    assert plain.file.getvalue() == text  # pyright: ignore[reportAttributeAccessIssue]
    colour = Console(file=io.StringIO(), width=40, force_terminal=True, color_system="standard")
    print_text(colour, text)
    lines = colour.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    assert [line.split("m")[0] for line in lines] == [
        *("\x1b[1", "\x1b[32", "  b:", "\x1b[31", "    input.size: 1 -> 2", "\x1b[32")
    ]


def test_a_change_of_all_configs_says_so():
    names = ("a", "b", "c", "d")
    changed = compare_goldens(
        dict.fromkeys(names, golden()), dict.fromkeys(names, golden(seed="1"))
    )
    assert as_text(changed) == "numerics\n  all 4 configs: seed: 0 -> 1\n"


def test_what_the_recipe_became_is_not_told_again_of_each_mesh():
    before, after = golden(fsdp="256"), golden(fsdp="256", mesh_shape__fsdp="4")
    assert before.meshes["tpu-v5e-256"].changes == (Changed("mesh_shape.fsdp", "8", "256"),)
    assert after.meshes["tpu-v5e-256"].changes == (Changed("mesh_shape.fsdp", "4", "256"),)
    told = as_text(compare_goldens({"a": before}, {"a": after}))
    assert told == "parallelism\n  a: mesh_shape.fsdp: 8 -> 4 (/ 2)\n"


def test_a_new_hardware_and_one_that_is_gone_are_told():
    before, after = golden(), golden()
    other = dataclasses.replace(after, meshes={"gpu-h100-8": MeshGolden((), {})})
    told = as_text(compare_goldens({"a": before}, {"a": other}))
    assert told == "meshes\n  a:\n    + gpu-h100-8\n    - tpu-v5e-256\n"


def test_goldens_do_not_differ_from_themselves():
    same = compare_goldens({"a": golden()}, {"a": golden()})
    assert not same
    assert same.configs == []
    assert as_text(same) == ""
    assert as_markdown(same, said="x and y") == "### Configs: no change\n\nx and y.\n"


def test_a_mesh_delta_that_does_not_fit_its_config_is_told_and_stops_nothing():
    wrong = MeshGolden((Changed("mesh_shape.fsdp", "2", "4"),), {})
    before = dataclasses.replace(golden(), meshes={"cpu-8": wrong})
    after = dataclasses.replace(golden(), meshes={"cpu-8": MeshGolden((), {})})
    assert as_text(compare_goldens({"a": before}, {"a": after})).startswith(
        "meshes\n  a: cpu-8: mesh_shape.fsdp was 2 when the change was made"
    )


def test_markdown_begins_with_what_it_comes_to_and_cannot_leave_its_fence():
    before = golden()
    after = golden(facts={"params": "6,696,425,705"}, model__eps='"```\n<b>"')
    text = as_markdown(compare_goldens({"a": before}, {"a": after}), said="main and here")
    assert text == (
        "### Configs: 1 of 1 change\n\nmain and here.\n\n"
        "<details open><summary><b>facts</b>: 1 change</summary>\n\n"
        "```diff\n# a\nparams 6.61 B -> 6.70 B (+1.3 %)\n```\n\n</details>\n\n"
        "<details open><summary><b>numerics</b>: 1 change</summary>\n\n"
        "```diff\n# a\nmodel.eps: 1e-05 -> \"'''\n<b>\"\n```\n\n</details>\n"
    )


@pytest.mark.parametrize("num_fields", [300, 3000])
def test_markdown_always_fits_a_comment_with_its_fences_closed(num_fields):
    fields = {f"model.layer_{i}.some_long_name": '"ü"' for i in range(num_fields)}
    before = {"a": golden()}
    after = {"a": dataclasses.replace(golden(), config={**CONFIG, **fields})}
    text = as_markdown(compare_goldens(before, after), said="main and here")
    assert len(text.encode()) <= MAX_MARKDOWN_BYTES
    assert text.count("```") == 2 * text.count("<details")
    assert text.count("<details") == text.count("</details>")
    assert ("Cut here" in text) == (num_fields == 3000)
    assert "<details><summary>" in text  # Folded: more than a screen.


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("params", "6,610,489,344", "6.61 B"),
        ("params_bytes", "26,441,957,376", "24.6 GiB"),
        ("watchdog_timeout_seconds", "200", "3 min 20 s"),
        ("total_tokens", "2,199,023,255,552", "2.20 T"),
        ("steps", "524,288", "524,288"),
        ("mesh", "data=4", "data=4"),
    ],
)
def test_a_value_is_told_with_the_unit_of_its_name(name, text, words):
    assert describe_value(name, text) == words


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("rate", "0.0003", "0.0001", " (/ 3)"),
        ("size", "8", "256", " (x 32)"),
        ("params", "1,000", "1,013", " (+1.3 %)"),
        ("params", "1,000", "990", " (-1 %)"),
        ("input.seed", "1", "2", ""),
        ("model.decoder.pad_token_id", "1", "2", ""),
        ("flag", "True", "False", ""),
        ("size", "0", "4", ""),
        ("size", "-1", "4", ""),
    ],
)
def test_a_number_says_how_much_it_changed_and_a_name_does_not(name, before, after, words):
    assert describe_ratio(name, before, after) == words
