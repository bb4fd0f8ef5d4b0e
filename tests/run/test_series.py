import numpy as np

from axl_exp.run.packed import Packed
from axl_exp.run.series import Labels, Series, find


def test_a_packed_series_reads_as_one_of_arrays():
    steps, values = np.arange(0, 300_000, 3), np.arange(100_000) / 8
    series = Series(Packed(steps), Packed(values))
    assert len(series) == 100_000
    assert series.steps.tolist() == steps.tolist()
    assert series.values.tolist() == values.tolist()


def test_at_is_nan_where_a_series_has_no_such_step():
    series = Series(np.array([1, 3, 5]), np.array([10.0, 30.0, 50.0]))
    assert np.array_equal(series.at([5, 0, 3, 9]), [50, np.nan, 30, np.nan], equal_nan=True)
    assert np.isnan(Series(np.array([], dtype=np.int64), np.array([])).at([1])).all()


def test_find_is_the_intersection():
    rng = np.random.default_rng(0)
    a, b = (np.unique(rng.integers(0, 500, size=200)) for _ in range(2))
    index, has = find(a, b)
    assert a[index].tolist() == b[has].tolist() == np.intersect1d(a, b).tolist()


def test_labels_tell_texts_and_the_steps_of_each():
    labels = Labels.of(np.array([2, 4, 6]), ["compile", "steady", "steady"])
    assert labels.values.tolist() == ["compile", "steady", "steady"]
    assert labels.steps_of("steady").tolist() == [4, 6]
    assert labels.steps_of("stall").tolist() == []
