"""`suite run`: commits in turns, restartable, a verdict per case, the user's tree untouched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axl_exp.suite.__main__ import main
from tests.suite.conftest import git, package_path

FLAGS = ("--module=toy_suites", "--timeout=60", "--out=runs/out")


def run(suite: str, base: str, head: str, *flags: str) -> int:
    return main(["run", f"--suite={suite}", f"--base={base}", f"--head={head}", *FLAGS, *flags])


def result() -> dict:
    return json.loads(Path("runs/out/result.json").read_text())


def test_two_commits_of_the_same_code_but_for_a_comment_are_identical(commit, capsys):
    base, head = commit("one"), commit("two")
    assert run("toy", base, head) == 0
    told = capsys.readouterr().out
    assert "2 cases: 2 within noise" in told
    assert "losses are identical to the bit" in told


def test_a_changed_learning_rate_is_named_with_the_first_step(commit):
    base, head = commit(rate=0.01), commit(rate=0.03)
    run("toy", base, head)
    case = result()["cases"][0]
    losses = case["comparison"]["losses"]
    assert losses["parting"]["step"] == 2
    assert losses["cause"]["class"] == "UPDATE"
    assert "learner.optimizer.learning_rate" in losses["explanation"]


def test_a_slower_head_is_a_regression_in_every_output(commit, capsys):
    base, head = commit(seconds=0.2), commit(seconds=0.3)
    assert run("one", base, head, "--md=runs/comment.md") == 1
    told = capsys.readouterr().out
    assert "▼" in told and "+50" in told
    comment = Path("runs/comment.md").read_text()
    assert "| plain | ▼ worse |" in comment and len(comment.encode()) < 65_536
    index = Path("runs/out/index.html").read_text()
    assert 'href="plain.html"' in index and "▼ worse" in index
    assert "index.html" in Path("runs/out/plain.html").read_text()


def test_on_a_cpu_one_slow_run_is_no_regression_and_three_in_turns_are(commit):
    base, head = commit(seconds=0.2, platform="cpu"), commit(seconds=0.3, platform="cpu")
    assert run("one", base, head) == 0
    case = result()["cases"][0]
    assert case["state"] == "within noise" and "not told by so few runs" in case["headline"]
    assert run("one", base, head, "--repeats=3", "--out=runs/three") == 1


def test_sides_take_turns_and_every_repeat_is_a_round(commit, capsys):
    base, head = commit("one"), commit("two")
    run("toy", base, head, "--repeats=2")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.endswith("...")]
    names = [line.split("] ")[1].removesuffix(" ...") for line in lines]
    once = ["plain A{0}", "plain B{0}", "drop A{0}", "drop B{0}"]
    assert names == [name.format(k) for k in (1, 2) for name in once]


def test_the_users_tree_and_branches_stay_as_they_are(commit, repository):
    base, head = commit("one"), commit("two")
    (repository / "settings.json").write_text('{"rate": 0.5, "seconds": 0.9}')
    before = git(repository, "status", "--porcelain"), git(repository, "branch", "--all")
    run("one", base, head)
    assert (git(repository, "status", "--porcelain"), git(repository, "branch", "--all")) == before
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_what_is_not_committed_can_be_the_head(commit, repository, capsys):
    base = commit(seconds=0.2)
    (repository / "settings.json").write_text('{"rate": 0.01, "seconds": 0.3}')
    (repository / "untracked.txt").write_text("")
    assert run("one", base, ".") == 1
    assert "1 untracked files are left out" in capsys.readouterr().err
    # The same content is the same question: nothing is run twice.
    assert run("one", base, ".") == 1
    assert "(before)" in capsys.readouterr().err


def test_a_crash_is_a_result_and_not_the_end(commit, capsys):
    base, head = commit("one"), commit(crash=True)
    assert run("toy", base, head) == 1
    told = capsys.readouterr()
    assert "fails on the head, not on the base" in told.out
    assert "the model does not build" in " ".join(told.out.split())
    assert "[4/4]" in told.err


def test_a_crash_on_both_sides_cannot_be_compared(commit):
    base, head = commit("one", crash=True), commit("two", crash=True)
    assert run("one", base, head) == 3
    assert result()["cases"][0]["state"] == "not comparable"


def test_a_run_that_does_not_end_in_time_is_stopped(commit, capsys):
    base, head = commit("one", pace=30.0), commit("two", pace=30.0)
    code = main(["run", "--suite=one", f"--base={base}", f"--head={head}", "--module=toy_suites",
                 "--timeout=1.5", "--out=runs/out"])  # fmt: skip
    assert code == 3
    assert "timed out" in capsys.readouterr().err


def test_a_case_that_is_stopped_and_resumed_has_the_losses_of_the_whole_one(commit):
    base, head = commit("one", pace=0.05), commit("two", pace=0.05)
    assert run("resume", base, head) == 0
    metrics = Path("runs/out/stopped/B1/run/metrics.jsonl").read_text().splitlines()
    assert sum('"train/loss"' in line for line in metrics) == 40
    case = result()["cases"][1]
    assert [same["holds"] for same in case["same_losses"].values()] == [True, True]
    assert "each side has the losses of whole, to the bit" in case["headline"]


def test_a_head_that_resumes_to_other_losses_is_worse_though_its_own_figures_are_in_the_noise(
    commit, capsys
):
    # 1e-6 of 4.6: far below any floor of a loss, and no rounding either.
    base, head = commit("one", pace=0.05), commit("two", pace=0.05, forgets=1e-6)
    assert run("resume", base, head, "--case=stopped") == 1
    whole, stopped = result()["cases"]
    assert (whole["state"], stopped["state"]) == ("within noise", "worse")
    assert stopped["comparison"]["verdict"]["state"] == "within noise"
    assert not stopped["same_losses"]["B"]["holds"]
    told = " ".join(capsys.readouterr().out.split())
    assert "does NOT have the losses of whole" in told and "none is allowed" in told


def test_what_the_base_does_not_hold_either_is_told_and_is_no_regression(commit):
    base, head = commit("one", pace=0.05, forgets=0.1), commit("two", pace=0.05, forgets=0.1)
    assert run("resume", base, head) == 0
    case = result()["cases"][1]
    assert [same["holds"] for same in case["same_losses"].values()] == [False, False]
    assert case["state"] == "within noise"
    assert "does NOT have the losses of whole" in case["headline"]


def test_a_case_whose_other_case_did_not_run_says_that_it_is_not_held_against_it(commit):
    base, head = commit(pace=0.05, crash_in="whole"), commit("two", pace=0.05, crash_in="whole")
    assert run("resume", base, head) == 3
    whole, stopped = result()["cases"]
    assert whole["comparison"] is None
    assert "not held against whole, which did not end on both sides" in stopped["headline"]


def test_after_a_kill_the_same_command_goes_on(commit, repository, tmp_path):
    base, head = commit("one", pace=0.02), commit("two", pace=0.02)
    command = [sys.executable, "-m", "axl_exp.suite", "run", "--suite=toy", f"--base={base}",
               f"--head={head}", *FLAGS]  # fmt: skip
    paths = os.pathsep.join((str(tmp_path), package_path()))
    # Not from the repository itself, whose stub would hide the package.
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, cwd=repository)  # fmt: skip
    first = repository / "runs/out/plain/A1/trial.json"
    end = time.monotonic() + 60
    while not first.exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = first.read_text()
    done = subprocess.run(command, env=environment, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "plain A1: done" in done.stderr and "(before)" in done.stderr
    assert first.read_text() == finished


@pytest.mark.parametrize(
    "flags,told",
    [
        (["--suite=tooy"], "No suite is called 'tooy'. Did you mean toy?"),
        (["--case=plian"], "no case 'plian'. Did you mean plain?"),
        (["--base=no-such"], "'no-such' is no commit, branch or tag"),
        (["--repeats=0"], "no number from 1 to 100"),
        (["--timeout=-1"], "no number of seconds above 0"),
        (["--bse=main"], "--bse"),
    ],
)
def test_a_wrong_name_is_one_line_and_exit_code_2(commit, capsys, flags, told):
    commit("one")
    given = {f.partition("=")[0]: f for f in ["--suite=toy", "--base=HEAD", "--head=HEAD", *flags]}
    try:
        code = main(["run", *given.values(), "--module=toy_suites"])
    except SystemExit as error:
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said


def test_outside_a_repository_it_says_so(tmp_path, monkeypatch, capsys, repository):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["run", "--suite=toy", "--module=toy_suites"]) == 2
    assert "in no git repository" in capsys.readouterr().err


def test_results_of_other_commits_are_not_mixed(commit, capsys):
    base, head, other = commit("one"), commit("two"), commit("three")
    run("one", base, head)
    assert run("one", base, other) == 2
    assert f"holds results of {base[:8]} against {head[:8]}" in capsys.readouterr().err


def test_more_repeats_add_to_what_there_is(commit, capsys):
    base, head = commit("one"), commit("two")
    run("one", base, head)
    run("one", base, head, "--repeats=3")
    told = capsys.readouterr().err
    assert told.count("(before)") == 2
    assert len(result()["cases"][0]["comparison"]["a"]["runs"]) == 3
