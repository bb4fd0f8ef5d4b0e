from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.run.environment import write_env
from axl_exp.run.files import write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.store import RunStore, RunStoreError


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "home" / "runs.sqlite3")


def make_run(
    path: Path, *, commit="a" * 40, branch="main", config="fuji-tiny", started=0.0, status=None
) -> RunDir:
    run_dir = RunDir(path).make()
    git = {"commit": commit, "branch": branch}
    launch = {"git": git, "started_unix_seconds": started}
    write_env(run_dir, launch=launch, facts={"config": config})
    if status:
        write_json(run_dir.summary, {"status": status})
    return run_dir


def names(store: RunStore, **query) -> list[str]:
    return [Path(run.run_dir).name for run in store.find(**query)]


def test_runs_are_found_by_branch_commit_and_config_newest_first(tmp_path: Path, store: RunStore):
    store.record(make_run(tmp_path / "old", started=1))
    store.record(make_run(tmp_path / "new", started=3, commit="b" * 40))
    store.record(make_run(tmp_path / "other", started=2, branch="feat/x", config="fuji-1B"))
    assert names(store) == ["new", "other", "old"]
    assert names(store, branch="main") == ["new", "old"]
    assert names(store, commit="bbbb") == ["new"]
    assert names(store, branch="main", config="fuji-1B") == []
    assert names(store, config="fuji-1B") == ["other"]


@pytest.mark.parametrize("commit", ["aaa", "%", "a' OR 1=1", "aaaa%", ""])
def test_a_commit_is_a_prefix_of_four_digits_or_more(tmp_path: Path, store: RunStore, commit: str):
    store.record(make_run(tmp_path / "run"))
    assert store.find(commit=commit) == []


def test_status_is_what_the_directory_says_now(tmp_path: Path, store: RunStore):
    run_dir = make_run(tmp_path / "run")
    store.record(run_dir)
    assert [run.status for run in store.find()] == ["unfinished"]
    write_json(run_dir.summary, {"status": "finished"})
    assert [run.status for run in store.find()] == ["finished"]


def test_a_directory_that_is_gone_is_not_found(tmp_path: Path, store: RunStore):
    run_dir = make_run(tmp_path / "run")
    store.record(run_dir)
    shutil.rmtree(run_dir.path)
    assert store.find() == []


def test_a_resumed_run_is_one_row_dated_by_its_first_launch(tmp_path: Path, store: RunStore):
    make_run(tmp_path / "run", started=1)
    store.record(make_run(tmp_path / "run", started=9, branch="later"))
    (run,) = store.find()
    assert (run.started_unix_seconds, run.branch) == (1.0, "later")


def test_a_corrupt_store_is_set_aside_and_rebuilt_from_runs(
    tmp_path: Path, store: RunStore, monkeypatch, caplog
):
    make_run(tmp_path / "runs" / "one")
    (tmp_path / "runs" / "no_run").mkdir()
    make_run(tmp_path / "runs" / "broken").env.write_text("{")
    monkeypatch.chdir(tmp_path)
    store.path.parent.mkdir()
    store.path.write_bytes(b"not a database" * 100)
    with caplog.at_level(logging.WARNING):
        assert names(store) == ["one"]
    assert "broken/env.json is not JSON" in caplog.text
    assert f"the run store {store.path} is corrupt (file is not a database)" in caplog.text
    assert "rebuilt from" in caplog.text
    assert len(list(store.path.parent.glob("runs.sqlite3.corrupt-*"))) == 1
    assert names(store) == ["one"]


def test_a_store_damaged_in_its_middle_is_noticed(tmp_path: Path, store: RunStore, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(20):
        make_run(tmp_path / "runs" / f"run{i}", branch="b" * 2000)
    assert store.adopt(Path("runs")) == 20
    content = bytearray(store.path.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 4096 * 2
    store.path.write_bytes(content)
    assert len(store.find()) == 20


def test_a_store_that_cannot_be_opened_names_the_way_out(tmp_path: Path):
    (tmp_path / "file").touch()
    store = RunStore(tmp_path / "file" / "runs.sqlite3")
    with pytest.raises(RunStoreError, match="AXL_EXP_HOME"):
        store.find()


def test_recording_never_fails_a_run(tmp_path: Path, caplog):
    (tmp_path / "file").touch()
    RunStore(tmp_path / "file" / "runs.sqlite3").record(make_run(tmp_path / "run"))
    assert "the run store did not take" in caplog.text


@pytest.mark.parametrize("env", ['{"config": "x"}', '{"config": "x", "git": "main"}', '{"a": []}'])
def test_an_env_json_of_another_kind_is_warned_about(tmp_path: Path, store, caplog, env: str):
    run_dir = RunDir(tmp_path / "run").make()
    run_dir.env.write_text(env)
    store.record(run_dir)
    assert "is not what a run writes" in caplog.text


def test_processes_that_record_at_once_lose_nothing(tmp_path: Path, store: RunStore):
    script = (
        "import sys, pathlib\n"
        "from axl_exp.run.store import RunStore\n"
        "from axl_exp.run.layout import RunDir\n"
        "for path in sys.argv[2:]:\n"
        "    RunStore(pathlib.Path(sys.argv[1])).record(RunDir(path))\n"
    )
    groups = [[str(make_run(tmp_path / f"run{p}-{i}").path) for i in range(10)] for p in range(3)]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(store.path), *group])
        for group in groups
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(store.find()) == 30


def test_a_reader_sees_the_store_while_another_writes(tmp_path: Path, store: RunStore):
    store.record(make_run(tmp_path / "run"))
    writer = sqlite3.connect(store.path)
    writer.execute("BEGIN")
    writer.execute("DELETE FROM runs_1")
    assert names(store) == ["run"]
    writer.rollback()
    writer.close()
