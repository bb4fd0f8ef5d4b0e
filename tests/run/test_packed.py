import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axl_exp.run.packed import Packed

_ROWS = 200_000  # Of three pieces and a rest.


@given(st.lists(st.floats(width=64, allow_nan=True, allow_infinity=True), max_size=50))
def test_any_float_comes_back_to_the_bit(values):
    column = np.array(values, dtype=np.float64)
    packed = Packed(np.repeat(column, 2000))
    assert packed.unpack().tobytes() == np.repeat(column, 2000).tobytes()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
@example([0, 2**40] * 20)
@example([2**63 - 1, -(2**63), 0] * 12)
def test_any_integer_comes_back(values):
    column = np.repeat(np.array(values, dtype=np.int64), 2000)
    assert Packed(column).unpack().tobytes() == column.tobytes()


@pytest.mark.parametrize(
    ("column", "most_bytes"),
    [
        (np.arange(_ROWS), 0),  # Steps.
        (np.full(_ROWS, 65536.0), 0),
        (np.round(3 + 0.05 * np.sin(np.arange(_ROWS)), 3), 1),  # A loss.
        (
            np.round(0.25 * np.arange(_ROWS) + 1e-4 * np.sin(np.arange(_ROWS) ** 2), 6),
            2,
        ),  # A clock.
    ],
)
def test_what_logs_print_takes_few_bytes(column, most_bytes):
    packed = Packed(column)
    rest = len(column) % (1 << 16)  # Not packed yet.
    assert packed.num_bytes <= most_bytes * len(column) + 8 * rest
    assert packed.unpack().tobytes() == column.tobytes()


def test_a_column_grows_by_rows_and_by_arrays_alike():
    values = np.round(np.random.default_rng(0).normal(size=_ROWS), 4)
    packed = Packed()
    for part in np.array_split(values, [1, 2, 70_000, 70_001]):
        packed.extend(part)
    assert len(packed) == _ROWS
    assert np.concatenate(list(packed.pieces())).tobytes() == values.tobytes()


def test_what_was_appended_is_a_copy():
    values = np.ones(10)
    packed = Packed(values)
    values[:] = 2
    assert packed.unpack().tolist() == [1] * 10
