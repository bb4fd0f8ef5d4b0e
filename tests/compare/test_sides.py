from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from axl_exp.compare.refs import NoSuchRunError
from axl_exp.compare.sides import Side, Source, choose_sides, load_side
from axl_exp.run.layout import RunDir
from axl_exp.run.store import RunStore

MAIN = {"commit": "a" * 40, "branch": "main"}
FEATURE = {"commit": "b" * 40, "branch": "feat/x"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return RunStore(tmp_path / "runs.sqlite3")


def chosen(store: RunStore, *names: str) -> list[str]:
    """Return the name of the first run of each side."""
    return [side.sources[0].paths[0].name for side in choose_sides(names, store=store)]


def test_a_path_is_taken_as_it_is(store: RunStore, make_run):
    run_dir: RunDir = make_run("a")
    (side,) = choose_sides([str(run_dir.path)], store=store)
    assert side == Side(str(run_dir.path), (Source((run_dir.path,)),))


def test_a_branch_and_a_commit_mean_their_newest_finished_run(store: RunStore, make_run):
    for name, git, started, status in (
        ("old", MAIN, 1.0, "finished"),
        ("new", MAIN, 2.0, "finished"),
        ("running", MAIN, 3.0, None),
        ("feature", FEATURE, 1.0, "finished"),
    ):
        store.record(make_run(name, git=git, started_unix_seconds=started, status=status))
    assert chosen(store, "main", "feat/x") == ["new", "feature"]
    assert chosen(store, "aaaaaaa", "bbbbbbb") == ["new", "feature"]
    (side, _) = choose_sides(["main", "feat/x"], store=store)
    assert side.by_ref
    assert side.note == "main is new: its newest finished run of fuji-tiny, at commit aaaaaaa"


def test_what_git_resolves_to_a_commit_is_a_commit(store: RunStore, make_run, monkeypatch):
    for variable in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{variable}_NAME", "a")
        monkeypatch.setenv(f"GIT_{variable}_EMAIL", "a@example.org")
    for command in ("init -q", "commit -q --allow-empty -m x", "tag v1"):
        subprocess.run(["git", *command.split()], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    store.record(make_run("run", git={"commit": head.stdout.strip(), "branch": None}))
    assert chosen(store, "v1", "HEAD") == ["run", "run"]


def test_runs_under_the_current_directory_are_found_without_the_store(store: RunStore, make_run):
    make_run("here", root=Path("runs"))
    assert chosen(store, "main", "main") == ["here", "here"]


def test_the_config_that_all_sides_have_is_taken(store: RunStore, make_run):
    store.record(make_run("tiny", git=MAIN))
    store.record(make_run("big", git=MAIN, facts={"config": "fuji-1B"}, started_unix_seconds=9e6))
    store.record(make_run("feature", git=FEATURE))
    assert chosen(store, "main", "feat/x") == ["tiny", "feature"]
    path = str(make_run("other", facts={"config": "fuji-1B"}).path)
    assert chosen(store, path, "main") == ["other", "big"]


def test_several_common_configs_must_be_chosen_from(store: RunStore, make_run):
    for git in (MAIN, FEATURE):
        for config in ("fuji-tiny", "fuji-1B"):
            run_dir = make_run(f"{git['branch'][:4]}-{config}", git=git, facts={"config": config})
            store.record(run_dir)
    with pytest.raises(NoSuchRunError) as error:
        choose_sides(["main", "feat/x"], store=store)
    assert str(error.value) == (
        "the sides have several configs in common: fuji-1B, fuji-tiny. Choose one: main:fuji-1B"
    )
    assert chosen(store, "main:fuji-1B", "feat/x") == ["main-fuji-1B", "feat-fuji-1B"]


def test_sides_without_a_common_config_are_told_theirs(store: RunStore, make_run):
    store.record(make_run("a", git=MAIN))
    store.record(make_run("b", git=FEATURE, facts={"config": "fuji-1B"}))
    with pytest.raises(NoSuchRunError) as error:
        choose_sides(["main", "feat/x"], store=store)
    assert str(error.value) == (
        "the sides have no config in common: main has fuji-tiny; feat/x has fuji-1B. "
        "Give run directories."
    )


def test_a_branch_whose_runs_are_all_unfinished_offers_one(store: RunStore, make_run):
    run_dir = make_run("a", git=MAIN, status=None)
    store.record(run_dir)
    with pytest.raises(NoSuchRunError) as error:
        choose_sides(["main", "main"], store=store)
    assert str(error.value) == (
        "main has 1 runs and none is finished. To compare one all the same, give its directory: "
        f"{run_dir.path}"
    )


def test_an_unknown_name_gets_the_nearest(store: RunStore, make_run):
    store.record(make_run("a", git=MAIN))
    make_run("fuji-tiny-1", root=Path("runs"), git=MAIN)
    for name, nearest in (("mian", "main"), ("runs/fuji-tinny-1", "runs/fuji-tiny-1")):
        with pytest.raises(NoSuchRunError) as error:
            choose_sides([name, "main"], store=store)
        assert str(error.value) == (
            f"{name} is neither a run directory nor a branch or commit with runs in the store."
            f" Did you mean {nearest}?"
        )


@pytest.mark.parametrize("name", ["--help", "", "\x00", "a\x1b[31mb", "x" * 5000, ":", "%"])
def test_strange_names_are_no_runs(store: RunStore, name: str):
    with pytest.raises(NoSuchRunError, match="The store has no runs yet"):
        choose_sides([name, name], store=store)


def test_a_branch_with_several_runs_of_one_code_is_its_repeats(store: RunStore, make_run):
    for i in range(3):
        store.record(make_run(f"r{i}", git=MAIN, started_unix_seconds=float(i)))
    store.record(make_run("other", git=MAIN, started_unix_seconds=0.5, config="model.dim: 512\n"))
    store.record(make_run("feature", git=FEATURE))
    side, feature = (load_side(side) for side in choose_sides(["main", "feat/x"], store=store))
    assert [run.run_dir.path.name for run in side.runs] == ["r2", "r1", "r0"]
    assert side.notes == ["main: 3 finished runs of that code are its repeats"]
    assert len(feature.runs) == 1


def test_repeats_are_told_by_commas_names_patterns_and_again(store: RunStore, make_run, tmp_path):
    for name in ("x0", "x1", "y"):
        make_run(name)
    paths = [str(tmp_path / name) for name in ("x0", "x1", "y")]
    for words in (
        [",".join(paths[:2]), paths[2]],
        [f"main={paths[0]},{paths[1]}", f"feat={paths[2]}"],
        [f"main={paths[0]}", f"feat={paths[2]}", f"main={paths[1]}"],
        [f"{tmp_path}/x*", paths[2]],
    ):
        sides = choose_sides(words, store=store)
        assert [len(side.sources) for side in sides] == [2, 1], words


def test_one_of_several_words_that_is_no_path_is_named(store: RunStore, make_run):
    path = make_run("a").path
    for words in (f"{path},nowhere", f"x={path},nowhere", f"{path}+nowhere"):
        with pytest.raises(NoSuchRunError, match="nowhere does not exist"):
            choose_sides([words, str(path)], store=store)


def test_a_path_given_twice_is_two_sides(store: RunStore, make_run):
    path = str(make_run("a").path)
    assert len(choose_sides([path, path, path], store=store)) == 3
