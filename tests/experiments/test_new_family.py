"""The family that docs/new_family.md shows, written from that page and used as it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.golden.__main__ import main as golden
from axl_exp.mesh import axis_sizes
from axl_exp.registry import list_configs, load_config
from axl_exp.resolve import resolve

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "new_family.md").read_text()


@pytest.fixture
def family(tmp_path, monkeypatch) -> Path:
    """The folder that holds the package `russet`."""
    for path, code in re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    for name in [name for name in sys.modules if name.partition(".")[0] == "russet"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_its_configs_stand_beside_the_built_in_ones(family):
    assert {"russet-tiny", "russet-1B", "fuji-tiny"} <= set(list_configs(module="russet"))
    assert load_config("russet", module="russet").name == "russet-tiny"


def test_its_rules_come_first_and_the_built_in_ones_do_the_rest(family):
    def sizes(selector):
        cfg = resolve("russet-1B", selector=selector, module="russet").config
        return {axis: size for axis, size in axis_sizes(cfg.mesh_shape).items() if size > 1}

    assert sizes("gpu-h100-64") == {"data": 8, "fsdp": 8}
    assert sizes("gpu-h100-8") == {"fsdp": 8}
    smoke_run = resolve("russet-1B", selector="cpu-1", module="russet")
    assert smoke_run.rule is not None
    assert smoke_run.rule.note.startswith("Smoke run:")


def test_its_goldens_are_written_and_hold(family, capsys):
    assert golden(["lint", "--module=russet"]) == 0, capsys.readouterr().out
    assert golden(["update", "--module=russet"]) == 0
    assert (family / "configs_golden" / "russet-1B" / "mesh" / "gpu-h100-64.txt").is_file()
    assert golden(["check", "--module=russet"]) == 0
    assert golden(["show", "russet-1B", "--module=russet", "--mesh=gpu-h100-64"]) == 0
    assert "mesh_shape.fsdp: 8" in capsys.readouterr().out


def test_it_trains(family):
    command = [
        *(sys.executable, "-m", "axl_exp.launch", "--module=russet", "--config=russet-tiny"),
        *("--mesh=cpu-1", "--run_dir=run", "--config.max_step=2"),
        *("--config.evalers.validation.input.num_batches=1",),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=family, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((family / "run" / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("finished", 2)
