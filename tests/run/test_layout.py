from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from axl_exp.run.layout import RunDir, RunDirError
from axl_exp.run.naming import new_run_dir


def test_a_directory_is_a_run_once_its_config_or_metrics_exist(tmp_path: Path):
    run_dir = RunDir(tmp_path / "deep" / "run").make()
    assert not run_dir.is_run()
    run_dir.metrics.touch()
    assert run_dir.is_run()


def test_a_run_directory_that_is_a_file_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "taken").touch()
    with pytest.raises(RunDirError) as error:
        RunDir(tmp_path / "taken").make()
    assert str(error.value) == (
        f"cannot write to the run directory {tmp_path / 'taken'}: File exists. "
        "Choose another with --run_dir."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_run_directory_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirError, match="Permission denied"):
        RunDir(tmp_path).make()
    tmp_path.chmod(0o700)


def test_a_new_run_is_named_by_config_time_and_commit_and_never_twice(tmp_path: Path):
    def make() -> Path:
        return new_run_dir(
            tmp_path / "runs", config="fuji-tiny", commit="0123456789", started_unix_seconds=0
        ).path

    first, second = make(), make()
    assert re.fullmatch(r"fuji-tiny-\d{8}-\d{6}-0123456", first.name)
    assert second.name == f"{first.name}-2"
    assert first.is_dir()
    assert second.is_dir()


@pytest.mark.parametrize(
    ("config", "stem"),
    [("path/to/my.py", "my"), ("a b/c", "a_b_c"), ("../..", "_.."), ("", "run"), ("-x", "x")],
)
def test_no_config_name_leads_out_of_the_directory_of_runs(tmp_path: Path, config: str, stem: str):
    path = new_run_dir(tmp_path, config=config, commit=None, started_unix_seconds=0).path
    assert path.parent == tmp_path
    assert path.name.startswith(f"{stem}-")
    assert path.name.endswith("-nocommit")
