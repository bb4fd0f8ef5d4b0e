"""Branch against branch on this project: real runs, found in the store by the names of branches."""

import json
import os
import subprocess
import sys

import pytest

from tests.system.conftest import REPOSITORY, SMALL, start

DECAY = "learner.optimizer.weight_decay"


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """Return a repository whose branches `main` and `same` ran alike, `feat` with another decay."""
    path = tmp_path_factory.mktemp("branches")
    names = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER")
             for what in ("NAME", "EMAIL")}  # fmt: skip
    for branch in ("main", "same", "feat"):
        for command in (
            ["init", "-q"],
            ["checkout", "-q", "-b", branch],
            ["commit", "-q", "--allow-empty", "-m", branch],
        ):
            subprocess.run(["git", *command], cwd=path, env=os.environ | names, check=True)
        override = [f"--config.{DECAY}=3.0"] if branch == "feat" else []
        process = start(*SMALL, *override, f"--run_dir=runs/{branch}", cwd=path)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    return path


def compare(branches, *arguments: str) -> tuple[int, dict]:
    found = subprocess.run(
        [sys.executable, "-m", "axl_exp.compare", *arguments, "--json"],
        cwd=branches,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert found.stdout, found.stderr
    return found.returncode, json.loads(found.stdout)


@pytest.mark.slow
def test_two_branches_that_are_alike_are_identical_in_every_loss_and_parameter(branches):
    code, told = compare(branches, "main", "same")
    assert code == 0  # However busy the machine: a floor that is only assumed decides nothing.
    losses = [metric for metric in told["metrics"] if "loss" in metric["key"]]
    assert {metric["state"] for metric in losses} == {"within noise"}
    assert told["losses"]["identical"]
    assert "losses are identical to the bit" in told["verdict"]["headline"]
    assert told["config"] == []
    assert told["parameters"]["changes"] == []
    assert told["parameters"]["num_matched"] == told["parameters"]["num_a"] > 0


@pytest.mark.slow
def test_two_branches_that_differ_in_one_setting_are_told_it_and_the_first_step(branches):
    _, told = compare(branches, "main", "feat")
    assert [change["path"] for change in told["config"]] == [DECAY]
    assert told["losses"]["parting"]["step"] == 2  # The first update is what decays first.
    assert told["losses"]["cause"]["class"] == "UPDATE"
    assert DECAY in told["losses"]["explanation"]
    assert not told["losses"]["identical"]
