"""Bisection: finds the planted commit, repeats where it is unsure, skips what does not run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from axl_exp.suite.__main__ import main
from axl_exp.suite.bisect import BisectError, bisect


def quiet(_: str) -> None:
    pass


def steps(num: int, *, at: int, good: float = 1.0, bad: float = 1.1) -> dict[str, float]:
    return {f"c{k:03}": good if k < at else bad for k in range(num)}


@pytest.mark.parametrize("at", range(1, 17))
def test_the_first_bad_commit_is_found_wherever_it_stands(at):
    figures = steps(17, at=at)
    found = bisect(list(figures), figures.__getitem__, repeats=1, most_repeats=1, say=quiet)
    assert found.commit.commit == f"c{at:03}"
    assert found.before.commit == f"c{at - 1:03}"
    assert found.num_runs <= 2 + 4  # Both ends, and log2 of the 16 places.


def test_under_noise_it_repeats_and_is_nearly_always_right():
    wrong = 0
    for seed in range(200):
        noise = random.Random(seed)
        figures = steps(33, at=12, bad=1.03)
        found = bisect(
            list(figures),
            lambda commit, figures=figures, noise=noise: figures[commit] * noise.gauss(1, 0.01),
            repeats=3,
            most_repeats=12,
            say=quiet,
        )
        wrong += found.commit.commit != "c012"
    # Sides are chosen at 3 standard errors, or after 12 runs at 5: a few wrong in 200 at the most.
    assert wrong <= 6


def test_commits_that_do_not_run_are_skipped_and_named():
    figures: dict[str, float | None] = {**steps(9, at=5)}
    figures["c004"] = None
    found = bisect(list(figures), figures.__getitem__, repeats=1, most_repeats=1, say=quiet)
    assert found.commit.commit == "c005"
    assert found.skipped == ["c004"]


def test_ends_that_do_not_differ_are_refused():
    noise = random.Random(0)
    with pytest.raises(BisectError, match="do not differ"):
        bisect("abc", lambda _: noise.gauss(1, 0.01), repeats=3, most_repeats=5, say=quiet)


def test_an_end_that_does_not_run_is_refused():
    figures: dict[str, float | None] = {"a": 1.0, "b": 1.0, "c": None}
    with pytest.raises(BisectError, match="bad commit c does not run"):
        bisect("abc", figures.__getitem__, repeats=1, most_repeats=1, say=quiet)


FLAGS = ("--suite=one", "--case=plain", "--module=toy_suites", "--timeout=60")


def test_the_command_finds_the_planted_commit(commit, capsys):
    good = commit("start", seconds=0.2)
    commit("docs", seconds=0.2, note=1)
    commit("broken", seconds=0.2, crash=True)
    culprit = commit("a slower kernel", seconds=0.3)
    commit("later", seconds=0.3, note=2)
    assert main(["bisect", *FLAGS, "--metric=step_seconds", f"--good={good}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["commit"] == culprit
    assert told["subject"] == "a slower kernel"
    assert len(told["skipped"]) == 1
    assert told == json.loads(Path("runs/bisect-one-plain/result.json").read_text())


@pytest.mark.parametrize(
    "flags,told",
    [
        (["--metric=step_second"], "no metric 'step_second'. Did you mean step_seconds"),
        (["--metric=loss", "--bad=HEAD~1", "--good=HEAD"], "is no ancestor of"),
        (["--metric=eval/x/loss", "--good=HEAD~1"], "the runs have no eval/x/loss"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_code_2(commit, capsys, flags, told):
    commit("one", seconds=0.2)
    commit("two", seconds=0.3)
    given = {f.partition("=")[0]: f for f in [*FLAGS, "--good=HEAD~1", *flags]}
    assert main(["bisect", *given.values()]) == 2
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said
