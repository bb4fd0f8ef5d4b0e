"""Windows, against a second implementation in plain loops and AXLearn's published example."""

import numpy as np
import pytest

from axl_exp.data.windows import Windows

_EOS = 1


def _pairs(ids) -> np.ndarray:
    """Input, target and a number of bytes that names the target's place."""
    return np.array(
        [*zip([_EOS, *ids], [*ids, _EOS], range(10, 11 + len(ids)), strict=True)], np.int32
    )


def _rows(ids, *, width, stride):
    windows = Windows(max_sequence_length=width, stride=stride)
    return windows.flat_map({"pairs": _pairs(ids)})


def test_rows_are_those_of_axlearns_example():
    rows = _rows([388, 4421, 2064, 339, 268, 1077], width=5, stride=2)
    assert [row["pairs"][:, 0].tolist() for row in rows] == [
        [1, 388, 4421, 2064, 339],
        [4421, 2064, 339, 268, 1077],
    ]
    assert [row["pairs"][:, 1].tolist() for row in rows] == [
        [388, 4421, 2064, 339, 268],
        [-1, -1, -1, 1077, 1],
    ]


@pytest.mark.parametrize("num_tokens", [0, 1, 7, 8, 9, 11, 12, 23, 24, 25, 100])
@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_every_target_counts_once_and_sees_all_that_its_row_holds_before_it(num_tokens, stride):
    ids = list(range(100, 100 + num_tokens))
    pairs, width = _pairs(ids), 8
    counted = []
    for row_index, row in enumerate(_rows(ids, width=width, stride=stride)):
        start = row_index * stride
        for place in range(width):
            values = row["pairs"][place].tolist()
            is_text = start + place < len(pairs)
            assert row["pairs_segment_ids"][place] == is_text
            assert row["pairs_positions"][place] == (place if is_text else 0)
            assert values[0] == (pairs[start + place, 0] if is_text else 0)
            if values[1] == -1:
                assert values[2] == 0
            elif is_text:
                assert values == pairs[start + place].tolist()
                assert place >= min(start + place, width - stride)
                counted.append(start + place)
            else:
                assert values[1:] == [0, 0]
    assert counted == list(range(len(pairs)))


@pytest.mark.parametrize("num_tokens", [3, 30, 31, 32, 33, 200])
def test_with_a_stride_of_a_quarter_the_rows_are_axlearns(num_tokens):
    """AXLearn pads a document to whole rows first, and drops rows without a target."""
    width, stride = 16, 4
    ids = list(range(100, 100 + num_tokens))
    pairs = _pairs(ids)
    padded = np.concatenate([pairs, np.zeros((width - len(pairs) % width, 3), np.int32)])
    expected = [padded[:width]]
    for start in range(stride, len(padded) - width + 1, stride):
        row = padded[start : start + width].copy()
        row[: width - stride, 1] = -1
        row[: width - stride, 2] = 0
        if (row[:, 1] > 0).any():
            expected.append(row)
    rows = _rows(ids, width=width, stride=stride)
    assert [row["pairs"].tolist() for row in rows] == [row.tolist() for row in expected]
