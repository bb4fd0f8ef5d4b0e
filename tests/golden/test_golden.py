import json
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.config.delta import parse_delta
from axl_exp.config.diff import apply
from axl_exp.config.override import Override
from axl_exp.config.parse import parse_text
from axl_exp.config.text import flatten
from axl_exp.golden.__main__ import main
from axl_exp.golden.trees import read_folder
from axl_exp.registry import list_configs
from axl_exp.resolve import resolve

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's module of two configs, its goldens written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_family", raising=False)
    (tmp_path / "own_family.py").write_text(
        "from axl_exp.registry import load_config\n"
        "CHANGES = {'max_step': 300}\n"
        "def _make(seed):\n"
        "    return lambda: load_config('fuji-tiny').config.set(seed=seed, **CHANGES)\n"
        "def named_trainer_configs():\n"
        "    return {'own-a': _make(1), 'own-b': _make(2)}\n"
    )
    assert golden("update") == 0
    return tmp_path


def golden(*words: str) -> int:
    return main([*words, "--module=own_family"])


def change_the_recipe(**changes) -> None:
    sys.modules["own_family"].CHANGES.update(changes)


def test_the_goldens_of_this_repository_are_up_to_date(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert main(["check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", list_configs())
def test_golden_and_mesh_delta_and_overrides_make_the_text_of_a_run(name):
    tree = read_folder(REPOSITORY / "configs_golden", globs=[name])
    base = parse_text(tree[f"{name}/config.txt"])
    for file, text in tree.items():
        if "/mesh/" in file:
            selector = Path(file).stem
            run = resolve(name, selector=selector, overrides=[Override("seed", "17")])
            made = apply(parse_delta(text, source=file), base)
            assert {**made, "seed": "17"} == flatten(run.config)


def test_a_fresh_tree_holds_the_config_and_what_each_rule_makes_of_it(own, capsys):
    files = sorted(read_folder(own / "configs_golden"))
    assert files == [
        f"own-{letter}/{file}"
        for letter in "ab"
        for file in ("config.txt", "mesh/cpu-1.txt", "mesh/cpu-8.txt")
    ]
    capsys.readouterr()
    assert golden("check") == 0
    assert capsys.readouterr().out == "6 golden files are up to date.\n"


def test_a_change_over_many_configs_is_told_once_with_the_command_that_mends_it(own, capsys):
    change_the_recipe(max_step=77)
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out == (
        "own-a/config.txt, own-b/config.txt:\n"
        "  max_step: 300 -> 77\n"
        "If this is meant: python -m axl_exp.golden update own-a own-b --module=own_family\n"
    )
    assert golden("check", "own-b") == 1
    assert capsys.readouterr().out.splitlines()[0] == "own-b/config.txt:"


def test_update_writes_what_check_wants_and_says_what_changed(own, capsys):
    change_the_recipe(max_step=78)
    capsys.readouterr()
    assert golden("update", "own-a") == 0
    assert capsys.readouterr().out == (
        "own-a/config.txt:\n"
        "  max_step: 300 -> 78\n"
        "3 golden files are up to date in configs_golden.\n"
    )
    assert golden("check", "own-a") == 0
    assert golden("check", "own-b") == 1


def test_missing_and_orphan_files_fail_until_they_are_mended(own, capsys):
    folder = own / "configs_golden"
    (folder / "own-a/config.txt").unlink()
    (folder / "own-b/mesh/cpu-64.txt").write_text("")
    (folder / "own-c").mkdir()
    (folder / "own-c/config.txt").write_text("")
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out == (
        "missing: own-a/config.txt\n"
        "orphan: own-b/mesh/cpu-64.txt\n"
        "orphan: own-c/config.txt\n"
        "If this is meant: python -m axl_exp.golden update own-a own-b own-c --module=own_family\n"
    )
    assert golden("update", "own-a", "own-b", "own-c") == 0
    assert golden("check") == 0
    assert not (folder / "own-c").exists()


def test_a_golden_that_somebody_broke_is_told_by_its_lines(own, capsys):
    file = own / "configs_golden/own-a/config.txt"
    file.write_text(file.read_text().replace("max_step: 300\n", "max_step = 300\n"))
    capsys.readouterr()
    assert golden("check") == 1
    assert "  - max_step = 300\n  + max_step: 300\n" in capsys.readouterr().out


def test_a_changed_mesh_delta_is_told_by_its_lines(own, capsys):
    file = own / "configs_golden/own-a/mesh/cpu-8.txt"
    file.write_text(file.read_text().replace("mesh_shape.fsdp: 1 -> 8", "mesh_shape.fsdp: 1 -> 4"))
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out.startswith(
        "own-a/mesh/cpu-8.txt:\n  - mesh_shape.fsdp: 1 -> 4\n  + mesh_shape.fsdp: 1 -> 8\n"
    )


def test_json_has_the_same_differences(own, capsys):
    change_the_recipe(max_step=79)
    capsys.readouterr()
    assert golden("check", "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schema": "axl_exp.golden/1",
        "changed": [
            {"files": ["own-a/config.txt", "own-b/config.txt"], "rows": ["max_step: 300 -> 79"]}
        ],
        "added": [],
        "removed": [],
    }
    assert captured.err.startswith("If this is meant: ")


def test_a_glob_that_matches_nothing_is_an_error(own, capsys):
    capsys.readouterr()
    assert golden("check", "owl-*") == 2
    assert capsys.readouterr().err == (
        "error: No config matches 'owl-*'. There are: own-a, own-b.\n"
    )


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def commit(message: str) -> None:
    git("add", "configs_golden")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    git(*identity, "commit", "-q", "-m", message)


def test_diff_compares_where_the_branch_began_with_the_files_here(own, capsys):
    git("init", "-q", "-b", "main")
    commit("before")
    git("checkout", "-q", "-b", "work")
    change_the_recipe(max_step=80)
    assert golden("update") == 0
    commit("after")
    capsys.readouterr()
    assert main(["diff"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["own-a/config.txt, own-b/config.txt:", "  max_step: 300 -> 80"]
    assert main(["diff", "main", "work"]) == 1
    assert main(["diff", "work"]) == 0
    assert main(["diff", "main", "main"]) == 0


def test_diff_compares_files_and_run_directories(own, capsys):
    folder = own / "configs_golden"
    (own / "run").mkdir()
    text = (folder / "own-a/config.txt").read_text()
    (own / "run/config.txt").write_text(text.replace("seed: 1\n", "seed: 3\n"))
    capsys.readouterr()
    assert main(["diff", str(folder / "own-a/config.txt"), "run"]) == 1
    assert "  seed: 1 -> 3\n" in capsys.readouterr().out


def test_diff_of_things_that_do_not_compare_says_so(own, capsys):
    git("init", "-q", "-b", "main")
    commit("one")
    capsys.readouterr()
    assert main(["diff", "no-such-ref", "main"]) == 2
    assert capsys.readouterr().err.startswith("error: git rev-parse")
    assert main(["diff", "own_family.py"]) == 2
    assert "needs another file or run directory" in capsys.readouterr().err
    assert main(["diff", "main", "own_family.py"]) == 2
    assert "compare two git refs, or two files" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["diff", "a", "b", "c"])
    assert left.value.code == 2


def test_help_is_there_at_once_and_without_jax():
    code = (
        "import sys, axl_exp.golden.__main__ as g\n"
        "try: g.main(['--help'])\n"
        "except SystemExit as e: sys.exit(e.code or 'attr' in sys.modules or 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "exit codes: 0 all the same" in done.stdout
