import json
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.config.diff import apply
from axl_exp.config.override import Override
from axl_exp.config.text import config_text, flatten
from axl_exp.golden.__main__ import main
from axl_exp.golden.folder import read_folder
from axl_exp.golden.layout import read_goldens
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
        "CHANGES = {'max_step': 300, 'layers': 4}\n"
        "def _make(seed):\n"
        "    def make():\n"
        "        changes = dict(CHANGES)\n"
        "        cfg = load_config('fuji-tiny').config\n"
        "        cfg.model.decoder.transformer.num_layers = changes.pop('layers')\n"
        "        return cfg.set(seed=seed, **changes)\n"
        "    return make\n"
        "def named_trainer_configs():\n"
        "    return {'own-a': _make(1), 'own-b': _make(2)}\n"
    )
    assert golden("update") == 0
    return tmp_path


def golden(*words: str) -> int:
    return main([*words, "--module=own_family"])


def change_the_recipe(**changes) -> None:
    sys.modules["own_family"].CHANGES.update(changes)


@pytest.fixture(scope="module")
def goldens():
    found, errors = read_goldens(read_folder(REPOSITORY / "configs_golden"))
    assert not errors
    return found


@pytest.mark.parametrize("name", list_configs())
def test_golden_and_mesh_delta_and_overrides_make_the_text_of_a_run(name, goldens):
    assert goldens[name].meshes
    for selector, mesh in goldens[name].meshes.items():
        run = resolve(name, selector=selector, overrides=[Override("seed", "17")])
        made = apply(mesh.changes, goldens[name].config)
        assert {**made, "seed": "17"} == flatten(run.config)


def test_the_goldens_of_this_repository_are_true_and_checking_them_starts_no_device():
    code = (
        "import sys\n"
        "from axl_exp.golden.__main__ import main\n"
        "code = main(['check'])\n"
        "from jax._src import xla_bridge\n"
        "sys.exit(code or xla_bridge.backends_are_initialized())"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fresh_tree_holds_the_config_its_parameters_and_what_each_rule_makes_of_it(own, capsys):
    files = sorted(read_folder(own / "configs_golden"))
    assert files == [
        f"own-{letter}/{file}"
        for letter in "ab"
        for file in ("config.txt", "mesh/cpu-1.txt", "mesh/cpu-8.txt", "params.txt")
    ]
    capsys.readouterr()
    assert golden("check") == 0
    assert capsys.readouterr().out == "8 golden files of 2 configs are true.\n"


def test_a_change_over_many_configs_is_told_once_with_the_command_that_mends_it(own, capsys):
    change_the_recipe(max_step=77)
    capsys.readouterr()
    assert golden("check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["optimizer", "  own-a, own-b: max_step: 300 -> 77 (/ 3.9)", "facts"]
    assert lines[3].startswith(
        "  own-a, own-b: steps 300 -> 77 (/ 3.9), total tokens 614,400 -> 157,696 (/ 3.9), "
    )
    assert lines[4:] == [
        "If this is meant: python -m axl_exp.golden update own-a own-b --module=own_family"
    ]
    assert golden("check", "own-b") == 1
    assert capsys.readouterr().out.startswith("optimizer\n  own-b: max_step: 300 -> 77")


def test_update_writes_what_check_wants_and_says_what_changed_and_what_it_comes_to(own, capsys):
    change_the_recipe(max_step=600)
    capsys.readouterr()
    assert golden("update", "own-a") == 0
    out = capsys.readouterr().out
    assert out.startswith("optimizer\n  own-a: max_step: 300 -> 600 (x 2)\nfacts\n")
    assert "total tokens 614,400 -> 1.23 M (x 2)" in out
    assert out.endswith("1 of 4 files written in configs_golden.\n")
    assert golden("check", "own-a") == 0
    assert golden("check", "own-b") == 1


def test_a_change_of_the_model_is_told_of_its_parameters_and_its_facts(own, capsys):
    change_the_recipe(layers=5)
    capsys.readouterr()
    assert golden("check", "own-a") == 1
    out = capsys.readouterr().out
    assert "  own-a: model.decoder.transformer.num_layers: 4 -> 5 (+25 %)\n" in out
    assert "feed_forward/norm/scale: float32[4, 256] -> float32[5, 256]\n" in out
    assert "params 5.25 M -> 6.03 M (+15 %)" in out
    assert "causal flops per token 32.2 M -> " in out


def test_missing_and_orphan_files_fail_until_they_are_mended(own, capsys):
    folder = own / "configs_golden"
    (folder / "own-a/params.txt").unlink()
    (folder / "own-b/mesh/cpu-64.txt").write_text("")
    (folder / "own-c").mkdir()
    (folder / "own-c/config.txt").write_text("")
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out == (
        "meshes\n"
        "  own-b: - cpu-64\n"
        "missing: own-a/params.txt\n"
        "orphan: own-b/mesh/cpu-64.txt\n"
        "orphan: own-c/config.txt\n"
        "If this is meant: python -m axl_exp.golden update own-a own-b own-c --module=own_family\n"
    )
    assert golden("update", "own-a", "own-b", "own-c") == 0
    assert golden("check") == 0
    assert not (folder / "own-c").exists()


def test_a_golden_that_somebody_broke_is_told_with_its_line(own, capsys):
    file = own / "configs_golden/own-a/config.txt"
    file.write_text(file.read_text().replace("max_step: 300\n", "max_step = 300\n"))
    line = file.read_text().splitlines().index("max_step = 300") + 1
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out == (
        f'unreadable: own-a/config.txt:{line}: expected `: ` at column 9, found " = 300"\n'
        "If this is meant: python -m axl_exp.golden update own-a --module=own_family\n"
    )


def test_a_comment_in_a_golden_is_not_true_either(own, capsys):
    file = own / "configs_golden/own-a/config.txt"
    file.write_text("# This is important.\n" + file.read_text())
    capsys.readouterr()
    assert golden("check") == 1
    assert "same content in other words: own-a/config.txt\n" in capsys.readouterr().out


def test_a_changed_mesh_delta_is_told_by_its_hardware(own, capsys):
    file = own / "configs_golden/own-a/mesh/cpu-8.txt"
    file.write_text(file.read_text().replace("mesh_shape.fsdp: 1 -> 8", "mesh_shape.fsdp: 1 -> 4"))
    capsys.readouterr()
    assert golden("check") == 1
    assert capsys.readouterr().out.startswith(
        "parallelism\n  own-a on cpu-8: mesh_shape.fsdp: 4 -> 8 (x 2)\n"
    )


def test_json_has_the_same_differences(own, capsys):
    change_the_recipe(log_every_n_steps=20)
    capsys.readouterr()
    assert golden("check", "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schema": "axl_exp.golden/2",
        "rows": [
            {
                "group": "io",
                "text": "log_every_n_steps: 10 -> 20 (x 2)",
                "where": ["own-a", "own-b"],
            }
        ],
        "facts": [],
        "added": [],
        "removed": [],
        "num_configs": 2,
        "missing": [],
        "orphan": [],
        "unreadable": {},
        "lint": [],
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
    assert lines[:2] == ["optimizer", "  own-a, own-b: max_step: 300 -> 80 (/ 3.75)"]
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
    assert capsys.readouterr().out == (
        "numerics\n  run: seed: 1 -> 3\nconfigs_golden/own-a/config.txt and run: different.\n"
    ).replace("configs_golden", str(folder))
    assert main(["diff", "own-a", "own-b"]) == 1
    assert capsys.readouterr().out == (
        "numerics\n  own-b: seed: 1 -> 2\nown-a and own-b: different.\n"
    )


def test_diff_as_markdown_is_a_comment(own, capsys):
    capsys.readouterr()
    assert main(["diff", "own-a", "own-b", "--md"]) == 1
    assert capsys.readouterr().out.startswith("### Configs: 1 of 1 change\n\nown-a and own-b.\n")


def test_show_prints_the_text_of_the_run(own, capsys):
    capsys.readouterr()
    assert golden("show", "own-a", "--mesh=cpu-8", "--config.seed=5") == 0
    text = capsys.readouterr().out
    resolved = resolve(
        "own-a", module="own_family", selector="cpu-8", overrides=[Override("seed", "5")]
    )
    assert text == config_text(resolved.config)
    assert golden("show", "own-a", "--config.max_step=300") == 0
    assert capsys.readouterr().err == (
        "warning: --config.max_step=300 changes nothing: that is the value already\n"
    )


def test_explain_names_every_writer_in_order(own, capsys):
    capsys.readouterr()
    assert golden("explain", "own-a", "mesh_shape.fsdp", "--mesh=cpu-8") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mesh_shape.fsdp: 8"
    assert lines[1].split() == ["default", "1", "MeshShape"]
    rows = [line.rsplit(maxsplit=2) for line in lines[1:]]  # Who, value, where.
    assert list(dict.fromkeys(who.strip() for who, _, _ in rows)) == [
        *("default", "recipe", "mesh rule cpu-8", "inferred for cpu-8")
    ]
    assert {value for who, value, _ in rows if who.strip() == "mesh rule cpu-8"} == {"-1"}
    assert all(":" in where for _, _, where in rows[1:])
    capsys.readouterr()
    assert golden("explain", "own-a", "seed", "--config.seed=9", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["value"] == "9"
    assert [write["by"] for write in told["writes"]] == ["default", "recipe", "command line"]
    assert told["writes"][-1]["where"] == "--config.seed=9"


def test_explain_of_nothing_names_the_nearest(own, capsys):
    capsys.readouterr()
    assert golden("explain", "own-a", "max_stp") == 2
    assert capsys.readouterr().err.startswith("error: own-a: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "own-a"], "explain takes CONFIG PATH"),
        (["show"], "show takes CONFIG"),
        (["lint", "own-a"], "lint takes at most 0 of NAME"),
        (["check", "--mesh=cpu-1"], "--mesh and --config.<path> are for explain and show"),
        (["update", "--config.seed=1"], "--mesh and --config.<path> are for explain and show"),
    ],
)
def test_a_command_says_what_it_takes(words, message, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_diff_of_things_that_do_not_compare_says_so(own, capsys):
    git("init", "-q", "-b", "main")
    commit("one")
    capsys.readouterr()
    assert main(["diff", "no-such-ref", "main"]) == 2
    assert capsys.readouterr().err.startswith("error: git rev-parse")
    assert main(["diff", "own_family.py"]) == 2
    assert capsys.readouterr().err.startswith("error: own_family.py:1: expected")
    assert main(["diff", "own-a"]) == 2
    assert "needs another file, run directory or config beside it" in capsys.readouterr().err
    assert main(["diff", "main", "own-a"]) == 2
    assert "compare two git refs, or two of those" in capsys.readouterr().err
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
