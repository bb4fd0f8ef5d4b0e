from __future__ import annotations

import numpy as np
import pytest

from axl_exp.compare.align import Cause, cause, pair, parting
from axl_exp.run.series import Series


def series(values: dict[int, float]) -> Series:
    return Series(np.array(list(values), dtype=np.int64), np.array(list(values.values())))


def test_pairs_are_the_steps_that_both_have():
    paired = pair(series({1: 1, 2: 2, 5: 5, 9: 9}), series({0: 0, 2: 20, 9: 90}))
    assert paired.steps.tolist() == [2, 9]
    assert paired.a.tolist() == [2, 9]
    assert paired.b.tolist() == [20, 90]
    assert paired.tail(1).steps.tolist() == [9]


def test_a_missing_series_pairs_with_nothing():
    assert len(pair(None, series({1: 1}))) == 0


def test_nan_on_both_sides_is_no_parting():
    same = series({1: 1.0, 2: float("nan"), 3: float("inf")})
    assert parting(pair(same, same)) is None


def test_nan_on_one_side_is_a_parting_without_a_distance():
    parted = parting(pair(series({1: 1.0, 2: 2.0}), series({1: 1.0, 2: float("nan")})))
    assert parted is not None
    assert (parted.step, parted.num_equal_steps, parted.ulps) == (2, 1, None)


def test_one_last_place_of_float32_is_one_ulp():
    value = np.float32(6.25)
    above = np.nextafter(value, np.float32(7))
    parted = parting(pair(series({3: float(value)}), series({3: float(above)})))
    assert parted is not None
    assert parted.ulps == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first_apart", "expected"),
    [(1, Cause.START), (2, Cause.UPDATE), (3, Cause.LATER), (9, Cause.LATER)],
)
def test_the_cause_is_told_by_the_number_of_equal_steps(first_apart: int, expected: Cause):
    a = series({step: float(step) for step in range(1, 10)})
    b = series({step: step + 0.5 * (step >= first_apart) for step in range(1, 10)})
    parted = parting(pair(a, b))
    assert parted is not None
    assert parted.step == first_apart
    assert cause(parted, a=a, b=b) is expected


def test_runs_that_begin_at_different_steps_tell_no_cause():
    a, b = series({1: 1.0, 5: 5.0}), series({5: 6.0})
    parted = parting(pair(a, b))
    assert parted is not None
    assert cause(parted, a=a, b=b) is Cause.UNKNOWN
