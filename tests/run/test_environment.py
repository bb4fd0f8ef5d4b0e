from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from axl_exp.run.environment import git_state, launch_facts, package_versions, write_env
from axl_exp.run.layout import RunDir


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    git(path, "init", "-q", "-b", "feat/x")
    (path / "file").write_text("one\n")
    git(path, "add", "file")
    git(path, "commit", "-qm", "first")
    return path


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_clean_tree_is_its_commit_and_branch(repository: Path):
    assert git_state(repository) == {
        "root": str(repository),
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "feat/x",
        "dirty": False,
        "diff_sha256": None,
    }


def test_a_detached_head_has_no_branch(repository: Path):
    git(repository, "checkout", "-q", "--detach")
    state = git_state(repository)
    assert state is not None
    assert state["branch"] is None


def test_the_hash_of_a_dirty_tree_tells_edits_and_new_files_apart(repository: Path):
    def digest() -> str:
        state = git_state(repository)
        assert state is not None
        assert state["dirty"]
        return state["diff_sha256"]

    (repository / "file").write_text("two\n")
    edited = digest()
    assert edited == digest()
    (repository / "new").write_text("x")
    added = digest()
    (repository / "new").write_text("y")
    assert len({edited, added, digest()}) == 3


def test_no_repository_is_none(tmp_path: Path):
    assert git_state(tmp_path) is None


def test_versions_are_those_of_the_installed_packages():
    versions = package_versions()
    assert versions["numpy"] == metadata.version("numpy")
    assert "python" in versions


def test_env_json_lists_every_launch_and_tells_of_the_newest(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    run_dir = RunDir(tmp_path)
    first = launch_facts(hardware={"platform": "cpu", "device_count": 8})
    second = {**first, "xla_flags": "", "started_unix_seconds": 5.0}
    write_env(run_dir, launch=first, facts={"config": "fuji-tiny", "seed": 0})
    write_env(run_dir, launch=second, facts={"config": "fuji-tiny", "seed": 0})
    env = json.loads(run_dir.env.read_text())
    assert [launch["xla_flags"] for launch in env["launches"]] == [first["xla_flags"], ""]
    assert env["xla_flags"] == ""
    assert env["jax_flags"]["JAX_ENABLE_X64"] == "1"
    assert env["glibc_tunables"] == "glibc.malloc.hugetlb=1"
    assert env["config"] == "fuji-tiny"
    assert env["hardware"]["device_count"] == 8
    assert env["hardware"]["host"]["num_cpus"] >= 1


def test_what_runs_leave_in_the_tree_does_not_make_it_dirty(repository: Path):
    run = repository / "runs" / "a"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.txt", "metrics.jsonl", "log.txt", "checkpoints/8"):
        (run / name).write_text("x")
    clean = git_state(repository)
    assert clean is not None and (clean["dirty"], clean["diff_sha256"]) == (False, None)
    # A folder with a config.txt alone is code, like any other.
    (repository / "golden").mkdir()
    (repository / "golden" / "config.txt").write_text("x")
    dirty = git_state(repository)
    assert dirty is not None and dirty["dirty"]
