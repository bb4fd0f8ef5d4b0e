"""A run directory belongs to one config and one launch at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.run.claim import check_claim, claim
from axl_exp.run.layout import RunDir, RunDirError

_CONFIG = "log_every_n_steps: 10\nseed: 0\n"


def _claim(path: Path, text: str = _CONFIG) -> None:
    with claim(RunDir(path), config_text=text):
        pass


def test_a_claimed_directory_holds_the_config(tmp_path: Path):
    _claim(tmp_path / "run")
    assert (tmp_path / "run" / "config.txt").read_text() == _CONFIG


def test_a_second_launch_is_refused_before_it_touches_anything(tmp_path: Path):
    path = tmp_path / "run"
    other = (
        "from axl_exp.run.claim import check_claim, claim\n"
        "from axl_exp.run.layout import RunDir, RunDirError\n"
        f"run_dir, text = RunDir({str(path)!r}), 'log_every_n_steps: 5\\nseed: 0\\n'\n"
        "def refusal(function):\n"
        "    try:\n"
        "        function()\n"
        "    except RunDirError as error:\n"
        "        return str(error)\n"
        "print(refusal(lambda: check_claim(run_dir, config_text=text)))\n"
        "print(refusal(lambda: claim(run_dir, config_text=text).__enter__()))\n"
    )

    def refusals() -> list[str]:
        command = [sys.executable, "-c", other]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )

    with claim(RunDir(path), config_text=_CONFIG):
        for told in refusals()[:2]:
            assert told.startswith(f"{path} is in use by another launch")
            assert "--run_dir" in told
        assert (path / "config.txt").read_text() == _CONFIG
    assert refusals()[:2] == ["None", "None"]


def test_a_change_in_io_alone_is_taken_and_told(tmp_path: Path):
    _claim(tmp_path)
    changed = _CONFIG.replace("10", "5")
    with claim(RunDir(tmp_path), config_text=changed) as changes:
        assert [str(change.path) for change in changes] == ["log_every_n_steps"]  # pyright: ignore
    assert (tmp_path / "config.txt").read_text() == changed


def test_another_config_is_refused_and_nothing_is_written(tmp_path: Path):
    _claim(tmp_path)
    with pytest.raises(RunDirError, match="another config: seed: 0 -> 7"):
        _claim(tmp_path, _CONFIG.replace("seed: 0", "seed: 7"))
    assert (tmp_path / "config.txt").read_text() == _CONFIG


def test_what_a_launch_leaves_that_was_killed_as_it_claimed_is_no_hindrance(tmp_path: Path):
    (tmp_path / ".config.txt.x7k2p9").write_text("log_ev")
    _claim(tmp_path)
    assert (tmp_path / "config.txt").read_text() == _CONFIG


def test_a_directory_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunDirError, match="not empty .it holds 'thesis.tex'"):
        check_claim(RunDir(tmp_path), config_text=_CONFIG)


def test_a_config_that_cannot_be_read_is_named_with_the_fix(tmp_path: Path):
    (tmp_path / "config.txt").write_bytes(b"\x00\xff")
    with pytest.raises(RunDirError, match="cannot read .*config.txt.*good copy"):
        check_claim(RunDir(tmp_path), config_text=_CONFIG)
