"""The one command on a bare machine: what it tells, what it skips, what it does after a failure."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import run

SCRIPT = Path(run.__file__)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a complete environment, its Python a script that logs its calls."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("# pins\njax==0.10.2 ; x\njax==0.12.0 ; y\nrich==1\n")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(run, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(run, "STAMP", tmp_path / ".venv/axl_exp.json")
    monkeypatch.setattr(run, "INSTALL_LOG", tmp_path / ".venv/install.log")
    monkeypatch.setattr(run, "LOCK", tmp_path / ".venv.lock")
    run.PYTHON.parent.mkdir(parents=True)
    fake_python(0)
    stamp(dev=True)
    return tmp_path


def fake_python(code: int, *, output: str = "") -> None:
    run.PYTHON.write_text(
        f"#!/bin/sh\necho \"$@\" >> '{run.ROOT}/calls.txt'\necho '{output}'\nexit {code}\n"
    )
    run.PYTHON.chmod(0o755)


def stamp(*, dev: bool) -> None:
    run.STAMP.write_text(json.dumps({"fingerprint": run.fingerprint(), "dev": dev}))


def calls() -> list[str]:
    log = run.ROOT / "calls.txt"
    return log.read_text().splitlines() if log.exists() else []


def test_a_python_without_our_syntax_can_still_read_the_file():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_an_old_python_is_named_with_the_command_that_works():
    pretend = (
        "import runpy, shutil, sys; sys.version_info = (3, 9, 18); "
        "shutil.which = lambda name: name if name == 'python3.12' else None; "
        f"sys.argv = ['tools/run.py', 'train']; runpy.run_path({str(SCRIPT)!r})"
    )
    ended = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: Python 3.11 or newer is needed, this is 3.9\nfix: python3.12 {SCRIPT} train\n"
    )


def test_a_python_without_ensurepip_is_told_the_package_to_install(repository, monkeypatch, capsys):
    run.STAMP.unlink()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        run.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else find_spec(name),
    )
    assert run.main(["setup"]) == 2
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"fix: sudo apt install python{version}-venv" in capsys.readouterr().err


def test_a_complete_environment_is_used_as_it_is(repository, capsys):
    assert run.main(["setup"]) == 0
    assert calls() == []
    assert capsys.readouterr().err == "ready: source .venv/bin/activate\n"


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_an_environment_is_out_of_date_once_a_pin_or_dependency_changes(repository, name):
    assert run.is_ready(dev=True)
    with (repository / name).open("a") as file:
        file.write("# changed\n")
    assert not run.is_ready(dev=True)


def test_an_environment_for_training_lacks_the_developers_tools(repository):
    stamp(dev=False)
    assert run.is_ready(dev=False)
    assert not run.is_ready(dev=True)


@pytest.mark.parametrize("damage", ["", "{", None])
def test_an_environment_without_a_whole_stamp_is_not_ready(repository, damage):
    if damage is None:
        run.STAMP.unlink()
    else:
        run.STAMP.write_text(damage)
    assert not run.is_ready(dev=False)


def test_a_failed_install_shows_the_last_error_and_leaves_nothing_that_looks_ready(
    repository, capsys
):
    stamp(dev=False)  # Current, so that only the developers' tools are missing.
    fake_python(1, output="ERROR: No matching distribution found for jax")
    assert run.main(["setup"]) == 2
    assert capsys.readouterr().err == (
        "error: ERROR: No matching distribution found for jax\n"
        "fix: see .venv/install.log; once mended, the same command goes on\n"
    )
    assert calls() == ["-m pip install --progress-bar=off -e .[dev]"]
    assert not run.is_ready(dev=False)


def test_every_check_runs_also_after_one_has_failed(repository, capsys):
    fake_python(1)
    assert run.main(["test"]) == 1
    assert [call.split()[1] for call in calls()] == [
        "ruff",
        "basedpyright",
        "tools.check",
        "pytest",
    ]
    assert capsys.readouterr().err.count("FAILED") == 4


def test_with_arguments_only_pytest_runs(repository):
    assert run.main(["test", "-k", "mesh"]) == 0
    assert calls() == ["-m pytest -k mesh"]


def test_an_unknown_command_is_answered_with_those_there_are(capsys):
    assert run.main(["trian"]) == 2
    assert capsys.readouterr().err == ("error: no command 'trian'; there are: train, test, setup\n")


def test_progress_off_a_terminal_is_a_few_lines(repository, capsys):
    show = run.progress_line()
    show("Obtaining file:somewhere\n")
    for i in range(20):
        show(f"Collecting package{i}>=1 (from axl_exp)\n")
    show("  Downloading jaxlib-1-py3-none-any.whl (87.1 MB)\n")
    show("Installing collected packages: a, b, c\n")
    show("Successfully installed a-1 b-1 c-1\n")
    assert capsys.readouterr().err.splitlines() == [
        "  collecting 20 of at most 2: package19",
        "  Downloading jaxlib-1-py3-none-any.whl (87.1 MB)",
        "  installing 3 packages",
        "  installed 3 packages",
    ]


def test_ci_runs_the_command_of_the_readme_and_nothing_else():
    root = SCRIPT.parent.parent
    command = "python3 tools/run.py test"
    assert command in (root / "README.md").read_text()
    lines = (root / ".ci/run").read_text().splitlines()
    assert [line for line in lines if "python" in line] == [f"exec {command}"]
    assert lines[-1] == f"exec {command}"
