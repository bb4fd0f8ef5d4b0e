"""Pieces of one run, in several directories or files: the same run as if it stood in one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.load import NotARunError, load_run
from axl_exp.compare.pieces import join_pieces, merge_pieces
from axl_exp.compare.sides import choose_sides, load_side
from axl_exp.run.files import read_json, write_json
from axl_exp.run.layout import RunDir
from axl_exp.run.store import RunStore


def cut(run_dir: RunDir, *, first: int = 1, last: int = 60) -> RunDir:
    """Leave the records of these steps alone in a run directory."""
    lines = run_dir.metrics.read_text().splitlines(keepends=True)
    kept = [line for line in lines if first <= json.loads(line).get("step", first) <= last]
    run_dir.metrics.write_text("".join(kept))
    return run_dir


@pytest.fixture
def pieces(make_run) -> tuple[RunDir, RunDir]:
    """A run to step 40, and its restart behind step 30 with a compilation of its own."""
    first = cut(make_run("first", status="stopped"), last=40)
    second = cut(make_run("second", started_unix_seconds=2e6), first=31)
    return first, second


def joined(*names: object):
    (side,) = choose_sides([",".join(map(str, names))], store=RunStore(Path("none")))
    return load_side(side)


def test_a_restart_in_another_directory_is_the_same_run_as_in_one(pieces, make_run):
    whole = load_run(make_run("whole")).metrics
    (run,) = joined(*(piece.path for piece in pieces)).runs
    assert run.metrics.numbers.keys() == whole.numbers.keys()
    for key, series in whole.numbers.items():
        assert np.array_equal(run.metrics.numbers[key].steps, series.steps)
        assert np.array_equal(run.metrics.numbers[key].values, series.values)
    assert list(run.metrics.labels["time/class"].values) == list(whole.labels["time/class"].values)
    assert run.metrics.num_void == 10
    assert run.status == "finished"
    assert len(run.env["launches"]) == 2


def test_what_was_merged_is_told(pieces, make_run, capsys):
    whole = make_run("whole")
    assert main([f"A={whole.path}", f"B={pieces[0].path},{pieces[1].path}"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "B: merged 2 pieces of one run, one after the other: first (steps 1-40), second (steps "
        "31-60)" in told
    )
    assert "B: 10 records were trained again after a restart" in told


def test_the_order_of_the_pieces_does_not_matter(pieces):
    runs = [load_run(piece) for piece in pieces]
    one, other = merge_pieces(runs), merge_pieces(runs[::-1])
    assert one.run_dir == other.run_dir and one.notes == other.notes
    assert np.array_equal(
        one.metrics.numbers["train/loss"].values, other.metrics.numbers["train/loss"].values
    )


def test_runs_from_the_first_step_are_repeats(make_run):
    runs, notes = join_pieces([load_run(make_run(name)) for name in "abc"])
    assert len(runs) == 3 and notes == ["3 runs are repeats of each other"]


@pytest.mark.parametrize("change", ["seed", "config", "earlier", "gap"])
def test_a_run_that_begins_in_the_middle_of_another_is_no_restart_of_it_where(
    change, pieces, make_run
):
    first, second = pieces
    if change == "seed":
        write_json(second.env, {**read_json(second.env), "seed": 1})
    if change == "config":
        second.config.write_text(second.config.read_text().replace("0.001", "0.002"))
    if change == "earlier":
        write_json(second.env, {**read_json(second.env), "started_unix_seconds": 1.0})
    if change == "gap":
        cut(second, first=50)
    runs, _ = join_pieces([load_run(first), load_run(second)])
    assert len(runs) == 2


def test_metrics_files_of_hosts_are_one_run_where_the_user_says_so(make_run, tmp_path):
    files = [tmp_path / f"host{k}.jsonl" for k in range(2)]
    for file in files:
        file.write_text(make_run(file.stem).metrics.read_text())
    (side,) = choose_sides([f"{files[0]}+{files[1]}"], store=RunStore(tmp_path / "none"))
    (run,) = load_side(side).runs
    assert run.notes == (
        "host0.jsonl and host1.jsonl both begin at step 1 with the same losses, as hosts do: "
        "host0.jsonl counts",
    )
    assert len(run.metrics.numbers["train/loss"]) == 60


@pytest.mark.parametrize("losses", [{}, {32: 3.0}])
def test_a_restart_that_was_killed_early_takes_nothing_from_the_one_after_it(
    losses, pieces, make_run
):
    first, second = pieces
    killed = cut(make_run("killed", losses=losses, started_unix_seconds=1.5e6), first=31, last=35)
    (run,) = joined(first.path, killed.path, second.path).runs
    whole = load_run(make_run("whole")).metrics.numbers["train/loss"]
    assert np.array_equal(run.metrics.numbers["train/loss"].steps, whole.steps)
    assert np.array_equal(run.metrics.numbers["train/loss"].values, whole.values)


def test_two_runs_with_other_losses_are_no_pieces_and_the_fix_is_named(make_run):
    a, b = load_run(make_run("a")), load_run(make_run("b", losses={1: 3.0}))
    with pytest.raises(NotARunError, match="both begin at step 1.*write repeats with a comma"):
        merge_pieces([a, b])


def test_a_piece_without_a_step_is_named(make_run):
    with pytest.raises(NotARunError, match="empty holds no step"):
        merge_pieces([load_run(make_run("a")), load_run(make_run("empty", num_steps=0))])


def test_a_directory_of_metrics_files_is_one_run(pieces, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, piece in enumerate(pieces, start=1):
        (folder / f"{number}.jsonl").write_text(piece.metrics.read_text())
    (side,) = choose_sides([str(folder)], store=RunStore(tmp_path / "none"))
    (run,) = load_side(side).runs
    assert len(run.metrics.numbers["train/loss"]) == 60 and run.metrics.num_void == 10
