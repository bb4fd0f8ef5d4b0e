"""What a diff of sweeps tells, on rows written by hand, and its command on a repository of two
commits whose dry run is a script."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axl_exp.dryrun.diff.__main__ import main
from axl_exp.dryrun.diff.changes import diff_sweeps
from axl_exp.dryrun.diff.of_ref import rows_of_ref
from axl_exp.dryrun.diff.show import section_of_diff
from axl_exp.run.checkout import resolve_ref

GIB = 2**30


def row(config, selector, *, memory=8 * GIB, step=1.0, gathered=100, fits=True):
    collective = {"kind": "all-gather", "mesh_axes": ["fsdp"], "link": "ici", "num_bytes": gathered}
    plan = {
        "mesh": "fsdp=4",
        "accumulation_steps": 1,
        "memory": {"total_bytes": memory, "host_bytes": 0},
        "roofline": {"step_seconds": step},
        "collectives": [collective],
    }
    return {"config": config, "selector": selector, "fits": fits, "plan": plan, "compiled": None}


def told(before, after):
    return section_of_diff(diff_sweeps(before, after), a="A", b="B")


def test_equal_sweeps_do_not_differ():
    rows = [row("x", "tpu-v5e-4"), row("y", "tpu-v5e-4")]
    assert diff_sweeps(rows, rows).rows == ()
    assert told(rows, rows).after == "Nothing changes in 2 dry runs."


def test_the_same_relative_change_of_many_is_one_row_and_the_rest_is_left_out():
    before = [row("x", s, step=t) for s, t in (("s1", 1.0), ("s2", 2.0), ("s3", 4.0))]
    after = [row("x", s, step=t) for s, t in (("s1", 1.1), ("s2", 2.2), ("s3", 4.0))]
    section = told(before, after)
    assert section.rows == [("x", "s1, s2", "2", "step +10.0 %")]
    assert section.after == "2 of 3 change, 1 stay as they are."


def test_a_single_row_tells_its_figures():
    section = told([row("x", "s")], [row("x", "s", memory=12 * GIB, gathered=50)])
    (cells,) = section.rows
    assert "memory +50.0 % (8.00 GiB -> 12.0 GiB)" in cells[3]
    assert "all-gather along fsdp over ici -50.0 % (100 B -> 50 B)" in cells[3]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([row("x", "s")], [row("x", "s", fits=False)], "verdict: fits -> does not fit"),
        ([], [row("x", "s")], "verdict: none -> fits"),
        ([row("x", "s")], [], "verdict: fits -> none"),
        (
            [row("x", "s")],
            [{"config": "x", "selector": "s", "error": "no"}],
            "verdict: fits -> error: no",
        ),
    ],
)
def test_a_verdict_that_changes_comes_or_goes_is_told(before, after, words):
    assert words in told(before, after).rows[0][3]


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def num_worktrees():
    """Of the repository that one is in, its own working tree included."""
    listed = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True)
    return len(listed.stdout.splitlines())


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Tags `bare`, without a dry run; `old` and others, whose dry runs are scripts."""
    folder = tmp_path / "repository"
    script = folder / "axl_exp" / "dryrun" / "__main__.py"
    script.parent.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "bare")
    git(folder, "tag", "bare")
    texts = {
        "old": f"print({json.dumps([row('x', 's')])!r})",
        "new": f"print({json.dumps([row('x', 's', step=2.0)])!r}); raise SystemExit(1)",
        "broken": "raise SystemExit('error: it is out of order')",
        "endless": "import time; open('../../../begun', 'x'); time.sleep(300)",
        "paths": "import json, os; row = dict.fromkeys(('config', 'selector'), os.environ["
        "'PYTHONPATH']); print(json.dumps([row]))",
    }
    (script.parent / "__init__.py").touch()
    for tag, text in texts.items():
        script.write_text(text + f"  # {tag}\n" if tag != "broken" else f"{text}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", tag)
        git(folder, "tag", tag)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path / "home"))
    return folder


def test_rows_without_a_dry_run_on_either_side_do_not_pass_for_equal():
    lacking = {"config": "x", "selector": "s", "fits": False, "error": "no compiler"}
    found = diff_sweeps([lacking, row("y", "s")], [lacking, row("y", "s")])
    assert not found.rows
    assert section_of_diff(found, a="a", b="b").after == (
        "Nothing changes in 2 dry runs. Without one at either commit: 1, such as: no compiler"
    )


def test_a_difference_is_a_page_too_and_one_that_cannot_be_written_is_told_at_once(
    repository, capsys, tmp_path
):
    page = tmp_path / "page.html"
    assert main(["old", "new", "--md", f"--html={page}"]) == 1
    assert "| x | s | 1 | step +100.0 %" in capsys.readouterr().out
    assert "<td>x</td><td>s</td>" in page.read_text()
    assert main(["old", "new", "--html=/no/such/page.html"]) == 2
    told = capsys.readouterr().err
    assert told == "error: cannot write /no/such/page.html: No such file or directory\n"


def test_two_commits_are_swept_by_their_own_code_and_leave_no_worktree(repository, capsys):
    assert main(["old", "new", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (changed,) = found["changed"]
    assert changed["changes"] == [{"fact": "step", "before": 1.0, "after": 2.0}]
    assert num_worktrees() == 1
    assert main(["old", "old"]) == 0


@pytest.mark.parametrize(
    ("refs", "words"),
    [
        (["bare", "new"], "has no axl_exp.dryrun: name a later commit"),
        (["old", "gone"], "'gone' is no commit, branch or tag"),
    ],
)
def test_a_commit_that_cannot_be_swept_is_one_line(repository, capsys, refs, words):
    assert main(refs) == 2
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]


def test_a_home_that_cannot_be_written_is_one_line(repository, capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path / "file"))
    assert main(["old", "new"]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"error: cannot write \S+: Not a directory; give AXL_EXP_HOME another folder\.\n", told
    )


def test_the_last_word_of_a_sweep_that_fails_is_told(repository, capsys):
    # SystemExit with a text has exit code 1: no JSON on stdout.
    assert main(["old", "broken"]) == 2
    assert "prints no JSON" in capsys.readouterr().err


def test_a_diff_that_is_terminated_leaves_no_worktree(repository, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    # The current folder has an axl_exp of its own.
    command = [sys.executable, "-P", "-m", "axl_exp.dryrun", "diff", "endless", "old"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        begun = tmp_path / "home" / "begun"
        for _ in range(1200):
            if begun.exists():
                break
            time.sleep(0.05)
        assert begun.exists()
        assert num_worktrees() == 2
        process.terminate()
        assert process.wait(60) == 143
    finally:
        process.kill()
    assert num_worktrees() == 1
    assert not list((tmp_path / "home" / "checkouts").iterdir())


def test_a_commit_finds_what_is_elsewhere_on_the_callers_path_and_its_own_of_the_repository(
    repository, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    callers = [repository, repository / "package", elsewhere]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, callers)))
    ref = resolve_ref("paths", repository=repository)
    (row,) = rows_of_ref(ref, repository=repository, flags=[], say=lambda _: None)
    checkout, *others = map(Path, row["config"].split(os.pathsep))
    assert checkout.is_relative_to(tmp_path / "home")
    assert others == [elsewhere]
