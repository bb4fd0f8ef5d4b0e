import pickle

import pytest

from axl_exp.golden import check, second_process
from axl_exp.registry import list_configs


def test_the_halves_are_everything_once_and_variants_stay_with_their_bases():
    names = list_configs()
    halves = check._halves(names)
    assert sorted([*halves[0], *halves[1]]) == names
    assert abs(len(halves[0]) - len(halves[1])) <= len(names) // 4
    for name in names:
        base = check.base_of(name, names)
        assert base is None or (name in halves[0]) == (base in halves[0])


@pytest.mark.parametrize(
    ("code", "made_here"),
    [
        ("import sys, pickle; sys.stdout.buffer.write(pickle.dumps({'b': 'there'}))", ["a"]),
        ("print('half'); raise SystemExit(1)", ["a", "b"]),
    ],
)
def test_what_the_second_process_fails_to_make_is_made_here(monkeypatch, code, made_here):
    asked: list[str] = []

    def make(names, *, module):
        assert module is None
        asked.extend(names)
        return dict.fromkeys(names, "here")

    monkeypatch.setattr(second_process, "_CODE", code)
    monkeypatch.setattr(second_process, "_num_cores", lambda: 2)
    monkeypatch.setattr(check, "make_goldens", make)
    with second_process.second_process(wanted=True) as second:
        assert second is not None
        goldens = check._make_with(second, ["b", "a"])
    assert goldens == {"a": "here", "b": "here" if "b" in made_here else "there"}
    assert asked == made_here


def test_one_core_or_little_work_has_no_second_process(monkeypatch):
    monkeypatch.setattr(second_process, "_num_cores", lambda: 1)
    with second_process.second_process(wanted=True) as second:
        assert second is None
    monkeypatch.setattr(second_process, "_num_cores", lambda: 2)
    with second_process.second_process(wanted=False) as second:
        assert second is None


def test_a_process_that_is_not_asked_is_not_left_behind(monkeypatch):
    monkeypatch.setattr(second_process, "_CODE", "import time; time.sleep(600)")
    monkeypatch.setattr(second_process, "_num_cores", lambda: 2)
    with (
        pytest.raises(KeyError),
        second_process.second_process(wanted=True) as second,
    ):
        raise KeyError
    assert second is not None
    assert second.poll() is not None


def test_goldens_survive_the_way_between_processes():
    goldens = check.make_goldens(["fuji-tiny"], module=None)
    assert pickle.loads(pickle.dumps(goldens)) == goldens
