"""Saved positions in the data: exact, small, refused where they belong to other data."""

import itertools
import json

import numpy as np
import pytest

from axl_exp.data import DataError, join_states
from tests.data.conftest import small_input


def _assert_same(a, b) -> None:
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (4, 2), (2, 4)])
def test_another_number_of_processes_goes_on_where_the_others_stopped(data_dir, before, after):
    def open_by(count):
        rows = np.split(np.arange(4), count)
        return [small_input().instantiate(data_dir=data_dir, rows=r.tolist()) for r in rows]

    def whole(iterators):
        parts = [next(each) for each in iterators]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    expected = small_input().instantiate(data_dir=data_dir).iterator()
    first = [each.iterator() for each in open_by(before)]
    for _ in range(7):
        _assert_same(whole(first), next(expected))
    state = json.loads(json.dumps(join_states([each.get_state() for each in first])))
    assert state == expected.get_state()
    then = [each.iterator() for each in open_by(after)]
    for each in then:
        each.set_state(state)
    for _ in range(20):
        _assert_same(whole(then), next(expected))
    assert join_states([each.get_state() for each in then]) == expected.get_state()


def test_every_position_of_training_resumes_exactly(data_dir):
    opened = small_input().instantiate(data_dir=data_dir)
    iterator = opened.iterator()
    states, batches = [iterator.get_state()], []
    for _ in range(45):  # More than two epochs.
        batches.append(next(iterator))
        states.append(iterator.get_state())
    for step, state in enumerate(states[:-3]):
        # Another process: opened anew, the state read from a file.
        resumed = small_input().instantiate(data_dir=data_dir).iterator()
        resumed.set_state(json.loads(json.dumps(state)))
        assert resumed.get_state() == state
        for batch in batches[step : step + 3]:
            _assert_same(next(resumed), batch)
        assert resumed.get_state() == states[step + 3]
        resumed.close()


def test_an_iterator_goes_back_and_forth(data_dir):
    iterator = small_input().instantiate(data_dir=data_dir).iterator()
    first = iterator.get_state()
    batches = [next(iterator) for _ in range(6)]
    last = iterator.get_state()
    following = next(iterator)
    iterator.set_state(first)
    for batch in batches:
        _assert_same(next(iterator), batch)
    iterator.set_state(last)
    _assert_same(next(iterator), following)


@pytest.mark.parametrize("stride", [None, 8])
def test_evaluation_resumes_exactly(data_dir, stride):
    cfg = small_input(is_training=False, global_batch_size=2, eval_stride_tokens=stride)
    opened = cfg.instantiate(data_dir=data_dir)
    iterator = opened.iterator()
    next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    resumed = opened.iterator()
    resumed.set_state(state)
    for a, b in itertools.zip_longest(iterator, resumed):
        _assert_same(a, b)


def test_the_position_is_small_and_does_not_depend_on_prefetching(data_dir):
    states = []
    for num_batches, num_threads in ((0, 0), (1, 1), (5, 3)):
        cfg = small_input(num_prefetch_batches=num_batches, num_read_threads=num_threads)
        iterator = cfg.instantiate(data_dir=data_dir).iterator()
        states.append([(next(iterator), iterator.get_state())[1] for _ in range(12)])
    assert states[0] == states[1] == states[2]
    assert len(json.dumps(states[0][-1])) < 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 4}, "is of seed 3, but this input has seed 4."),
        (
            {"global_batch_size": 2},
            "is of global_batch_size 4, but this input has global_batch_size 2.",
        ),
        (
            {"max_sequence_length": 16},
            "is of max_sequence_length 32, but this input has max_sequence_length 16.",
        ),
    ],
)
def test_a_position_of_other_data_is_refused(data_dir, change, complaint):
    state = small_input().instantiate(data_dir=data_dir).iterator().get_state()
    iterator = small_input(**change).instantiate(data_dir=data_dir).iterator()
    with pytest.raises(DataError) as error:
        iterator.set_state(state)
    assert str(error.value) == (
        f"The saved position in the data {complaint} Resume with what the run began with, or begin "
        "a new run."
    )
