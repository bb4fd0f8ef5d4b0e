import re
import sys
import textwrap
from pathlib import Path

import pytest

from axl_exp.config.text import flatten
from axl_exp.registry import (
    UnknownConfigError,
    UserModuleError,
    list_configs,
    load_config,
    load_mesh_rules,
)


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a module of a user's own, importable until the test ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def raises(error: type[Exception], text: str):
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def test_an_alias_resolves_to_the_configs_own_name():
    assert load_config("fuji-1B").name == "fuji-1B-v3"


def test_every_load_makes_a_fresh_config():
    before = load_config("fuji-tiny").config.max_step
    load_config("fuji-tiny").config.set(max_step=before + 1)
    assert load_config("fuji-tiny").config.max_step == before


def test_an_unknown_config_names_the_nearest():
    with raises(
        UnknownConfigError,
        "No config is called 'fuji-7B-v4'. Did you mean fuji-7B-v3, fuji-7B-v2, fuji-7B-v1?",
    ):
        load_config("fuji-7B-v4")


def test_a_module_adds_a_family_of_ones_own_beside_the_built_in(write_module):
    module = write_module(
        "my_family",
        """
        from axl_exp.registry import load_config

        def _small():
            return load_config("fuji-tiny").config.set(max_step=7)

        def named_trainer_configs():
            return {"mine-small": _small}

        def config_aliases():
            return {"mine": "mine-small"}
        """,
    )
    named = load_config("mine", module=module)
    assert (named.name, named.source, named.config.max_step) == ("mine-small", module, 7)
    assert list_configs(module=module, builtin=False) == ["mine-small"]
    assert set(list_configs(module=module)) == {*list_configs(), "mine-small"}
    assert load_mesh_rules(module=module) == load_mesh_rules()


def test_rules_of_a_module_come_before_the_built_in(write_module):
    module = write_module(
        "my_rules",
        """
        from axl_exp.mesh import MeshRule

        def named_trainer_configs():
            return {}

        def mesh_rules():
            return [MeshRule(selector="cpu-1", configs=".*", modifiers=(), golden_selectors=())]
        """,
    )
    first, *rest = load_mesh_rules(module=module)
    assert first.selector == "cpu-1"
    assert tuple(rest) == load_mesh_rules()


def test_a_module_that_is_not_there_is_named(write_module):
    with raises(
        UserModuleError,
        "No module 'no_such_package' for --module=no_such_package.x: it is neither installed nor "
        "in the working directory.",
    ):
        load_config("fuji-tiny", module="no_such_package.x")


def test_an_import_error_inside_a_module_is_told_with_its_file_and_line(write_module, tmp_path):
    module = write_module("broken_import", "import os\nimport no_such_dependency\n")
    with raises(
        UserModuleError,
        "--module=broken_import fails with ModuleNotFoundError: No module named "
        f"'no_such_dependency' ({tmp_path}/broken_import.py:2)",
    ):
        load_config("fuji-tiny", module=module)


def test_a_syntax_error_inside_a_module_is_told_with_its_file_and_line(write_module, tmp_path):
    module = write_module("broken_syntax", "x = 1\ny = = 2\n")
    with raises(
        UserModuleError,
        "--module=broken_syntax fails with SyntaxError: invalid syntax "
        f"({tmp_path}/broken_syntax.py:2)",
    ):
        load_config("fuji-tiny", module=module)


def test_a_module_without_its_function_says_what_to_define(write_module):
    module = write_module("no_function", "")
    with raises(
        UserModuleError,
        "Module no_function has no named_trainer_configs(): define it to return "
        "{name: function that makes a trainer config}.",
    ):
        load_config("fuji-tiny", module=module)


def test_a_name_that_is_taken_is_an_error(write_module):
    module = write_module("twice", "def named_trainer_configs():\n    return {'fuji-tiny': None}\n")
    with raises(
        UserModuleError, "twice and experiments both have a config 'fuji-tiny'. Rename one."
    ):
        load_config("fuji-tiny", module=module)


def test_a_file_may_return_a_trainer_config(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from axl_exp.registry import load_config\n"
        "def get_config(steps='5'):\n"
        "    return load_config('fuji-tiny').config.set(max_step=int(steps))\n"
    )
    named = load_config(str(path))
    assert (named.name, named.config.max_step, named.overrides) == ("mine", 5, {})
    assert load_config(f"{path}:11").config.max_step == 11


def test_a_file_may_return_a_config_dict_over_a_named_config(tmp_path):
    path = tmp_path / "sweep.py"
    path.write_text(
        "import ml_collections\n"
        "def get_config():\n"
        "    cfg = ml_collections.ConfigDict({'base': 'fuji-tiny', 'max_step': 9})\n"
        "    cfg.learner = {'optimizer': {'learning_rate': 0.5}}\n"
        "    return cfg\n"
    )
    named = load_config(str(path))
    assert named.name == "fuji-tiny"
    assert flatten(named.config) == flatten(load_config("fuji-tiny").config)
    assert named.overrides == {"max_step": 9, "learner.optimizer.learning_rate": 0.5}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "No config file {path}."),
        ("x = 1\n", "{path} has no get_config(): define it to return the config."),
        (
            "def get_config():\n    return 1\n",
            "{path}: get_config() must return a trainer config, or an ml_collections.ConfigDict "
            "whose `base` is a config name.",
        ),
        (
            "def get_config():\n    return 1 / 0\n",
            "{path} fails with ZeroDivisionError: division by zero ({path}:2)",
        ),
    ],
)
def test_a_file_that_gives_no_config_says_why(tmp_path, text, error):
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    with raises(UserModuleError, error.format(path=path)):
        load_config(str(path))
