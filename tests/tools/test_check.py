"""Every rule of the house on a small tree that breaks it, and on the repository itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check.__main__ import ROOT, check
from tools.check.layers import LAYERS, LIGHT, check_cycles, check_layers, check_light
from tools.check.source import load_modules
from tools.check.startup import check_startup
from tools.check.style import check_import_places, check_names, check_sizes, long_files
from tools.check.text import check_places


def tree(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def lines(findings) -> list[str]:
    return [str(finding) for finding in findings]


def test_the_rules_of_the_house_hold():
    findings = lines(check(ROOT))
    assert not findings, "\n" + "\n".join(findings)


def test_every_light_room_exists():
    modules = load_modules(ROOT)
    assert [room for room in LIGHT if not any(n.startswith(room) for n in modules)] == []


@pytest.mark.parametrize("statement", ["from axl_exp import train", "import axl_exp.train.step"])
def test_an_import_that_points_left_names_its_line(tmp_path, statement):
    root = tree(
        tmp_path,
        {
            "axl_exp/train/step.py": "",
            "axl_exp/train/__init__.py": "",
            "axl_exp/run/layout.py": f'"""Layout."""\n\n{statement}\n',
        },
    )
    [finding] = check_layers(load_modules(root))
    assert str(finding).startswith("axl_exp/run/layout.py:3: layer: axl_exp.run imports axl_exp.tr")


def test_relative_imports_are_seen(tmp_path):
    root = tree(tmp_path, {"axl_exp/train.py": "", "axl_exp/run/layout.py": "from .. import train"})
    assert lines(check_layers(load_modules(root))) == [
        "axl_exp/run/layout.py:1: layer: axl_exp.run imports axl_exp.train, "
        "which is not to the right of it"
    ]


def test_neighbours_in_a_row_do_not_import_each_other(tmp_path):
    root = tree(tmp_path, {"axl_exp/data.py": "", "axl_exp/model.py": "import axl_exp.data"})
    assert len(list(check_layers(load_modules(root)))) == 1


def test_imports_to_the_right_and_within_a_room_are_fine(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/errors.py": "",
            "axl_exp/model/norm.py": "import axl_exp.errors",
            "axl_exp/model/layer.py": "from axl_exp.model import norm",
            "tests/test_x.py": "import axl_exp.model.layer",
        },
    )
    assert lines(check_layers(load_modules(root))) == []


def test_a_module_without_a_room_is_reported(tmp_path):
    root = tree(tmp_path, {"axl_exp/novelty.py": ""})
    assert lines(check_layers(load_modules(root))) == [
        "axl_exp/novelty.py:1: layer: has no room: give it a row of LAYERS in tools/check"
    ]


def test_the_house_does_not_import_its_tools(tmp_path):
    root = tree(tmp_path, {"tools/bench.py": "", "axl_exp/run.py": "import tools.bench"})
    assert lines(check_layers(load_modules(root))) == [
        "axl_exp/run.py:1: layer: axl_exp.run imports tools.bench"
    ]


def test_the_facade_of_compare_is_lower_than_its_command():
    rows = {room: row for row, rooms in enumerate(LAYERS) for room in rooms}
    assert rows["axl_exp.compare.__main__"] < rows["axl_exp.compare"]


def test_a_cycle_is_reported_once_with_its_whole_path(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/config/a.py": "from axl_exp.config import b",
            "axl_exp/config/b.py": "import os\nfrom axl_exp.config.c import x",
            "axl_exp/config/c.py": "import axl_exp.config.a",
        },
    )
    assert lines(check_cycles(load_modules(root))) == [
        "axl_exp/config/c.py:1: cycle: "
        "axl_exp.config.a -> axl_exp.config.b -> axl_exp.config.c -> axl_exp.config.a"
    ]


def test_an_import_for_types_closes_no_cycle(tmp_path):
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import axl_exp.config.a"
    root = tree(
        tmp_path,
        {"axl_exp/config/a.py": "import axl_exp.config.b", "axl_exp/config/b.py": guarded},
    )
    assert lines(check_cycles(load_modules(root))) == []


def test_a_light_room_that_reaches_jax_names_the_chain(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/run/__init__.py": "from axl_exp.run.plan import plan",
            "axl_exp/run/plan.py": "import numpy\nimport axl_exp.config",
            "axl_exp/config.py": "from jax import numpy",
        },
    )
    found = lines(check_light(load_modules(root)))
    assert (
        "axl_exp/run/__init__.py:1: light: must load without JAX: "
        "axl_exp.run -> axl_exp.run.plan -> axl_exp.config -> jax.numpy"
    ) in found
    assert len(found) == 3


def test_importing_a_module_counts_what_its_package_imports(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/data/__init__.py": "import grain",
            "axl_exp/data/names.py": "",
            "axl_exp/run.py": "import axl_exp.data.names",
        },
    )
    assert lines(check_light(load_modules(root))) == [
        "axl_exp/run.py:1: light: must load without JAX: axl_exp.run -> axl_exp.data -> grain"
    ]


def test_a_command_may_import_jax_below_its_flags(tmp_path):
    root = tree(tmp_path, {"axl_exp/launch/__main__.py": "def main():\n    import jax\n"})
    modules = load_modules(root)
    assert lines(check_light(modules)) == []
    assert lines(check_import_places(modules)) == []


def test_at_run_time_a_light_room_is_imported_with_jax_absent(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/__init__.py": "",
            "axl_exp/errors.py": "",
            "axl_exp/config.py": "import math\nfrom axl_exp.names import x\n",
            # The static graph does not see this one.
            "axl_exp/names.py": "import importlib\n\nx = importlib.import_module('jax')\n",
        },
    )
    modules = load_modules(root)
    assert lines(check_light(modules)) == []
    assert lines(check_startup(modules, root=root)) == [
        "axl_exp/names.py:3: light: axl_exp.config must load without JAX: ImportError: imports jax"
    ]


def test_one_cause_is_one_finding_however_many_modules_it_stops(tmp_path):
    root = tree(
        tmp_path,
        {
            "axl_exp/config/__init__.py": "import flax\n",
            "axl_exp/config/text.py": "",
            "axl_exp/run.py": "import axl_exp.config.text\n",
        },
    )
    assert lines(check_startup(load_modules(root), root=root)) == [
        "axl_exp/config/__init__.py:1: light: axl_exp.config and 2 more modules must load without "
        "JAX: ImportError: imports flax"
    ]


def test_a_file_of_400_lines_is_the_longest(tmp_path):
    root = tree(tmp_path, {"axl_exp/a.py": "\n" * 400, "axl_exp/b.py": "\n" * 401})
    modules = load_modules(root)
    assert lines(check_sizes(modules)) == [
        "axl_exp/b.py:401: size: 401 lines, at most 400: split the file"
    ]
    assert long_files(modules) == ["axl_exp/a.py: 400 lines", "axl_exp/b.py: 401 lines"]


def test_a_function_of_70_lines_is_the_longest(tmp_path):
    body = "def f():\n" + "    pass\n" * 69
    root = tree(tmp_path, {"tools/a.py": body, "tools/b.py": body + "    pass\n"})
    assert lines(check_sizes(load_modules(root))) == [
        "tools/b.py:1: size: f has 71 lines, at most 70"
    ]


def test_a_bag_is_no_name_for_a_module_except_for_shared_recipe_parts(tmp_path):
    root = tree(tmp_path, {"axl_exp/utils/__init__.py": "", "experiments/common.py": ""})
    assert lines(check_names(load_modules(root))) == [
        "axl_exp/utils/__init__.py:1: name: 'utils' names a bag: name the idea in it"
    ]


def test_an_import_inside_a_function_needs_a_try_for_what_is_optional(tmp_path):
    optional = "def f():\n    try:\n        import xprof\n    except ImportError:\n        pass\n"
    root = tree(
        tmp_path,
        {"axl_exp/run.py": "def f():\n    import json\n", "axl_exp/report.py": optional},
    )
    assert lines(check_import_places(load_modules(root))) == [
        "axl_exp/run.py:2: import: json inside a function: import it at the top, or in "
        "try/except ImportError if it is optional"
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import importlib\nimportlib.import_module('a')",
        "import os\nfrom importlib import import_module",
        "\n__import__('a')",
        "import runpy\nrunpy.run_path('a')",
    ],
)
def test_only_the_registry_imports_by_name(tmp_path, code):
    root = tree(tmp_path, {"axl_exp/config.py": code, "axl_exp/registry.py": code})
    [finding] = check_import_places(load_modules(root))
    assert str(finding).startswith("axl_exp/config.py:2: import: ")
    assert str(finding).endswith("only axl_exp.registry imports by name")


# In pieces, so that this file keeps the rule it tests.
@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("absolute path", "see /" + "home/ada/runs"),
        ("file address", "file:" + "///x"),
        ("host", "http://" + "mirror.internal/simple"),
        ("host", "http://example.org" + ":8080/"),
        ("host", "192." + "168.0.7"),
        ("host", "local" + "host"),
        ("memory address", "<function f at " + "0x7f1c2b3d4e5f>"),
    ],
)
def test_a_place_of_one_machine_is_in_no_file(tmp_path, kind, bad):
    root = tree(tmp_path, {"README.md": f"first\n{bad}\n"})
    [finding] = check_places(root)
    assert str(finding).startswith(f"README.md:2: place: {kind} ")


@pytest.mark.parametrize(
    "fine",
    ["jax==0.12.0.1", "10.2.3.4.5", "https://arxiv.org/abs/1706.03762", "~/.cache", "runs/tmp/x"],
)
def test_versions_and_public_addresses_are_no_places(tmp_path, fine):
    assert lines(check_places(tree(tmp_path, {"README.md": fine}))) == []
