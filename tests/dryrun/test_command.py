"""The command as a user runs it: what it prints, and what it says of a mistake."""

import json

import pytest

from axl_exp.dryrun import sweep
from axl_exp.dryrun.__main__ import main
from axl_exp.dryrun.sweep import Row
from axl_exp.mesh import parse_selector

_7B = "--config=fuji-7B-v2"


def run(capsys, *words):
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


_MISTAKES = {
    "unknown hardware": (
        [_7B, "--mesh=tpu-v55-8"],
        "Unknown TPU 'v55' in a hardware selector. Nearest: tpu-v5p-8, tpu-v5e-8, tpu-v4-8.",
    ),
    "no such slice": (
        [_7B, "--mesh=tpu-v5e-24"],
        "tpu-v5e-24: no slice of v5e has 24 chips. "
        "Would do: tpu-v5e-4, tpu-v5e-8, tpu-v5e-16, tpu-v5e-32.",
    ),
    "half a node": (
        [_7B, "--mesh=gpu-h100-12"],
        "gpu-h100-12: a node has 8 GPUs, and several nodes are whole ones. "
        "Would do: gpu-h100-8, gpu-h100-16.",
    ),
    "no rule": (
        ["--config=fuji-tiny", "--mesh=tpu-v5e-256"],
        "No mesh rule for fuji-tiny on tpu-v5e-256. Tried: tpu-v5e-[148]. Choose one of these with "
        "--mesh, or add a rule to mesh_rules/ or to your --module.",
    ),
    # What is too small was tried too, but is nothing to choose.
    "no rule, and some that do not fit": (
        ["--config=fuji-405B-v3", "--mesh=tpu-v6e-256-3"],
        "No mesh rule for fuji-405B-v3 on tpu-v6e-256-3. Tried: tpu-v6e-256-(2|4|8), "
        "tpu-v6e-[148]. Choose one of these with --mesh, or add a rule to mesh_rules/ or to your "
        "--module.",
    ),
    "whatever is here": (
        [_7B, "--mesh=auto"],
        "'auto' is for a launch, which looks for devices: name the hardware, as tpu-v5e-256.",
    ),
    "a pattern without --all": (
        ["--config=fuji-7B-*", "--mesh=tpu-v5e-256"],
        "--config=fuji-7B-* is a pattern: add --all.",
    ),
    "a page in a folder that is not there": (
        [_7B, "--mesh=tpu-v5e-256", "--html=/no/such/page.html"],
        "cannot write /no/such/page.html: No such file or directory",
    ),
    "a sweep of unknown hardware": (
        ["--all", "--config=fuji-*", "--mesh=tpu-v5e-24"],
        "tpu-v5e-24: no slice of v5e has 24 chips. "
        "Would do: tpu-v5e-4, tpu-v5e-8, tpu-v5e-16, tpu-v5e-32.",
    ),
    "a sweep of an unknown config": (
        ["--all", "--config=fuji-7C"],
        "No config is called 'fuji-7C'. Did you mean fuji-7B, fuji-70B, fuji-8B?",
    ),
    "axes that do not multiply": (
        [_7B, "--mesh=tpu-v5e-256", "--config.mesh_shape.fsdp=3"],
        "mesh_shape fsdp=3: fsdp=3 is not the number of devices, 256. Would do: fsdp=256.",
    ),
    "two axes left open": (
        [
            *(_7B, "--mesh=tpu-v5e-256"),
            *("--config.mesh_shape.data=-1", "--config.mesh_shape.fsdp=-1"),
        ],
        "mesh_shape data=-1, fsdp=-1: only one axis can be -1; give data or fsdp a size.",
    ),
    "batch": (
        [_7B, "--mesh=tpu-v5e-256", "--config.input.global_batch_size=100"],
        "input.global_batch_size=100 does not divide into the 256 parts that mesh_shape fsdp=256 "
        "makes of it. Would do: 256.",
    ),
    "parameter": (
        [
            *("--config=fuji-70B-v3-tiktoken", "--mesh=tpu-v5p-1024"),
            *("--config.mesh_shape.data=1", "--config.mesh_shape.fsdp=512"),
        ],
        "parameter decoder/emb/token_emb/weight (128256, 8192): dim 0 of size 128256 does not "
        "divide by mesh axes fsdp=512; change the mesh shape, or its rule in logical_axis_rules. "
        "Would do: fsdp=256 or a divisor of it.",
    ),
    "parts": (
        [_7B, "--mesh=tpu-v5e-256", "--config.accumulation_steps=8"],
        "one of 8 parts (accumulation_steps) of the batch (128, 4096): dim 0 of size 128 does not "
        "divide by mesh axes fsdp=256; change the mesh shape, or its rule in logical_axis_rules. "
        "Would do: fsdp=128 or a divisor of it.",
    ),
    "nothing to sweep": (
        ["--all", "--config=nothing-*"],
        "No config matches --config=nothing-*.",
    ),
}


@pytest.mark.parametrize("case", _MISTAKES)
def test_a_mistake_is_one_line_that_names_the_fix(capsys, case):
    words, text = _MISTAKES[case]
    assert run(capsys, *words) == (2, "", f"error: {text}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serch"], "no command is called 'serch'. Did you mean search?"),
        ([_7B], "--config and --mesh are needed, or --all."),
        ([_7B, "--mesh=tpu-v5e-256", "--levle=plan"], "unknown flag --levle. Did you mean --level"),
        ([_7B, "--all", "--json", "--md"], "--json and --md exclude each other."),
    ],
)
def test_a_mistyped_word_is_told_before_anything_is_done(capsys, words, told):
    with pytest.raises(SystemExit) as exit_:
        main(words)
    captured = capsys.readouterr()
    assert (exit_.value.code, captured.out) == (2, "")
    assert captured.err.startswith(f"error: {told}")
    assert captured.err.count("\n") == 1


def test_what_does_not_fit_is_said_and_exits_with_1(capsys):
    code, out, _ = run(
        capsys,
        *(_7B, "--mesh=tpu-v5e-16", "--config.mesh_shape.data=4", "--config.mesh_shape.fsdp=1"),
    )
    assert code == 1
    assert out.splitlines()[-1].startswith("does not fit: ")


def test_json_has_every_parameter_and_the_same_verdict(capsys):
    code, out, _ = run(capsys, _7B, "--mesh=tpu-v5e-256", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["fits"] is True
    assert len(told["plan"]["params"]) == 9
    weight = told["plan"]["params"][0]
    assert weight["mesh_axes"] == [["fsdp"], []]
    assert weight["bytes_per_device"] == 32768 * 4096 * 4 // 256


def test_a_sweep_goes_on_after_an_error_and_is_the_same_table_everywhere(capsys, tmp_path):
    page = tmp_path / "page.html"
    words = ["--all", "--config=honeycrisp-85M", "--mesh=tpu-v5e-[18]*"]
    code, out, _ = run(capsys, *words, "--md", f"--html={page}")
    assert code == 0
    assert "| honeycrisp-85M | tpu-v5e-1 | fits |" in out
    assert "<td>honeycrisp-85M</td><td>tpu-v5e-1</td><td>fits</td>" in page.read_text()


def test_rows_stand_by_config_whatever_order_they_are_made_in(capsys, monkeypatch):
    made = []

    def row(pair, **_):
        made.append(pair)
        name, selector = pair
        return Row(name, selector, None, "not made")

    monkeypatch.setattr(sweep, "_row", row)
    _, out, _ = run(capsys, "--all", "--config=gala-85M", "--json")
    told = [(row["config"], row["selector"]) for row in json.loads(out)]
    assert told == sweep.find_pairs(config="gala-85M", mesh=None, module=None)
    assert sorted(made) == sorted(told)
    # Made by platform and size: those that may share a step are neighbours.
    hardware = [parse_selector(selector) for _, selector in made]
    sizes = [(each.platform, each.num_devices) for each in hardware]
    assert sizes == sorted(sizes)
    assert made != told


def test_what_fits_at_no_setting_does_not_fit_in_a_sweep_and_names_what_does(capsys, monkeypatch):
    words = ["--all", "--config=fuji-*7B-v2-f*", "--mesh=tpu-v5e-4"]
    code, out, _ = run(capsys, *words, "--json")
    assert code == 1
    for row in json.loads(out):
        assert row["fits"] is False
        assert "smallest that does: tpu-v5e-8" in row["error"]
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = run(capsys, *words)
    assert "fuji-7B-v2-flash  tpu-v5e-4  does not fit" in out
    assert "the smallest that does: tpu-v5e-8" in out
    assert "0 of 2 fit, 2 do not." in out
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(capsys, *words)
    assert out.splitlines()[0] == "fuji-7B-v2-flash"
    assert out.splitlines()[2].startswith("tpu-v5e-4  does not fit")
    assert max(map(len, out.splitlines())) <= 80
