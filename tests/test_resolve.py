import re
import subprocess
import sys

import pytest

from axl_exp.config import (
    FrozenConfigError,
    OverrideError,
    RequiredFieldMissingError,
    written_by,
)
from axl_exp.config.diff import Changed, apply
from axl_exp.config.override import Override
from axl_exp.config.text import flatten
from axl_exp.mesh import MeshShapeError, NoMeshRuleError, UnknownHardwareError
from axl_exp.mesh.rules import TooSmallError
from axl_exp.resolve import BatchSizeError, RangeError, resolve


def override(path: str, text: str) -> Override:
    return Override(path=path, text=text)


def raises(error: type[Exception], text: str):
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def test_without_a_hardware_the_recipe_stays_as_it_is():
    resolved = resolve("fuji-7B-v2")
    assert (resolved.hardware, resolved.rule, resolved.mesh_changes) == (None, None, ())
    assert (resolved.config.mesh_shape.data, resolved.config.mesh_shape.fsdp) == (-1, 8)


def test_the_mesh_is_inferred_for_the_hardware_and_the_changes_say_so():
    resolved = resolve("fuji-7B-v2", selector="gpu-p5.48xlarge-256")
    assert str(resolved.hardware) == "gpu-h100-256"
    assert (resolved.config.mesh_shape.data, resolved.config.mesh_shape.fsdp) == (32, 8)
    assert resolved.mesh_changes == (Changed("mesh_shape.data", "-1", "32"),)


def test_an_override_has_the_last_word():
    resolved = resolve("fuji-1B", selector="cpu-1", overrides=[override("max_step", "2")])
    assert resolved.config.max_step == 2
    assert [write.by for write in resolved.config.writes("max_step")] == [
        "recipe",
        "mesh rule cpu-1",
        "command line",
    ]


def test_a_resolved_config_is_frozen():
    cfg = resolve("fuji-tiny", selector="cpu-1").config
    with pytest.raises(FrozenConfigError):
        cfg.input.seed = 3


def test_two_resolutions_are_independent_and_equal():
    first, second = (resolve("fuji-tiny", selector="cpu-1") for _ in range(2))
    assert flatten(first.config) == flatten(second.config)
    assert first.config is not second.config


def test_what_is_at_hand_comes_after_the_rule_and_before_overrides():
    def adapt(cfg):
        with written_by("adapted"):
            return cfg.clone(max_step=7, seed=7)

    cfg = resolve(
        "fuji-1B", selector="cpu-1", overrides=[override("seed", "9")], adapt=adapt
    ).config
    assert (cfg.max_step, cfg.seed) == (7, 9)


def test_a_minus_one_in_an_override_is_inferred_too():
    overrides = [override("mesh_shape.data", "2"), override("mesh_shape.fsdp", "-1")]
    cfg = resolve("fuji-tiny", selector="cpu-8", overrides=overrides).config
    assert (cfg.mesh_shape.data, cfg.mesh_shape.fsdp) == (2, 4)


def test_overrides_of_a_config_file_outlast_the_mesh_rule(tmp_path):
    path = tmp_path / "longer.py"
    path.write_text(
        "import ml_collections\n"
        "def get_config():\n"
        "    return ml_collections.ConfigDict({'base': 'fuji-1B', 'max_step': 9, 'seed': 4})\n"
    )
    resolved = resolve(str(path), selector="cpu-1", overrides=[override("seed", "5")])
    assert (resolved.name, resolved.config.max_step) == ("fuji-1B-v3", 9)
    assert resolved.config.seed == 5
    assert resolved.config.writes("max_step")[-1].by == "config file"
    assert resolved.warnings == (f"--config.seed=5 overwrites seed=4 of {path}",)


@pytest.mark.parametrize(("field", "value"), [("max_step", "'ten'"), ("max_stepp", "10")])
def test_a_wrong_field_in_a_config_file_is_told_with_the_file(tmp_path, field, value):
    path = tmp_path / "wrong.py"
    path.write_text(
        "import ml_collections\n"
        "def get_config():\n"
        f"    return ml_collections.ConfigDict({{'base': 'fuji-tiny', '{field}': {value}}})\n"
    )
    with pytest.raises(
        OverrideError, match=f"^{re.escape(f'{path}: {field}={value}: ')}.*max_step"
    ):
        resolve(str(path), selector="cpu-1")


def test_an_override_that_changes_nothing_is_a_warning():
    resolved = resolve("fuji-tiny", selector="cpu-1", overrides=[override("seed", "0")])
    (warning,) = resolved.warnings
    assert warning.startswith("--config.seed=0 changes nothing")


@pytest.mark.parametrize(
    ("overrides", "error", "text"),
    [
        (
            {"input.global_batch_size": "12"},
            BatchSizeError,
            "input.global_batch_size=12 does not divide into the 8 parts that mesh_shape fsdp=8 "
            "makes of it. Would do: 8 or 16.",
        ),
        (
            {"evalers.validation.input.global_batch_size": "3"},
            BatchSizeError,
            'evalers["validation"].input.global_batch_size=3 does not divide into the 8 parts that '
            "mesh_shape fsdp=8 makes of it. Would do: 8.",
        ),
        (
            {"mesh_shape.fsdp": "1", "mesh_shape.seq": "8", "input.max_sequence_length": "100"},
            BatchSizeError,
            "input.max_sequence_length=100 does not divide into the 8 parts that mesh_shape seq=8 "
            "makes of it. Would do: 96 or 104.",
        ),
        (
            {"mesh_shape.fsdp": "3"},
            MeshShapeError,
            "mesh_shape fsdp=3: fsdp=3 is not the number of devices, 8. Would do: fsdp=8.",
        ),
    ],
)
def test_sizes_that_do_not_divide_name_those_that_would(overrides, error, text):
    with raises(error, text):
        resolve(
            "fuji-tiny",
            selector="cpu-8",
            overrides=[override(path, value) for path, value in overrides.items()],
        )


def test_every_required_field_is_reported_at_once(tmp_path):
    path = tmp_path / "unfinished.py"
    path.write_text(
        "from axl_exp.train.trainer import SpmdTrainer\n"
        "def get_config():\n"
        "    cfg = SpmdTrainer.default_config().set(max_step=1)\n"
        "    cfg.input.set(global_batch_size=8, max_sequence_length=8)\n"
        "    return cfg\n"
    )
    with pytest.raises(RequiredFieldMissingError) as caught:
        resolve(str(path), selector="cpu-1")
    for field in ("input.source.dataset_name", "learner.optimizer", "model.decoder.vocab_size"):
        assert field in str(caught.value)


def test_unknown_names_are_errors():
    with pytest.raises(UnknownHardwareError):
        resolve("fuji-tiny", selector="cpu")
    with pytest.raises(NoMeshRuleError):
        resolve("fuji-tiny", selector="tpu-v5e-64")
    with pytest.raises(TooSmallError, match="the smallest that does: tpu-v5e-8"):
        resolve("fuji-7B-v2", selector="tpu-v5e-4")
    with pytest.raises(OverrideError):
        resolve("fuji-tiny", selector="cpu-1", overrides=[override("max_stepp", "1")])


def test_the_changes_of_the_rule_and_the_override_make_the_resolved_text():
    base = flatten(resolve("fuji-1B").config)
    resolved = resolve("fuji-1B", selector="cpu-4", overrides=[override("max_step", "2")])
    text = apply(resolved.mesh_changes, base)
    assert {**text, "max_step": "2"} == flatten(resolved.config)


def test_resolve_itself_does_not_import_jax():
    code = "import sys, axl_exp.resolve; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("max_step", "0", "at least 1"),
        ("input.global_batch_size", "-4", "at least 1"),
        ("model.decoder.dim", "0", "at least 1"),
        ("model.decoder.vocab_size", "0", "at least 1"),
        ("model.decoder.transformer.num_layers", "-1", "at least 1"),
        ("log_every_n_steps", "0", "at least 1"),
        ("summary_writer.write_every_n_steps", "0", "at least 1"),
        ("checkpointer.keep_last_n", "0", "at least 1"),
        ("checkpointer.save_policy.n", "0", "at least 1"),
        ("seed", "-1", "from 0 to 2**32 - 1"),
        ("seed", "4294967296", "from 0 to 2**32 - 1"),
        ("watchdog_timeout_seconds", "nan", "above 0"),
    ],
)
def test_a_number_that_no_run_can_have_is_refused_by_its_path(path: str, text: str, words: str):
    with raises(RangeError, f"{path} is {text}: it must be {words}."):
        resolve("fuji-tiny", selector="cpu-1", overrides=[override(path, text)])
