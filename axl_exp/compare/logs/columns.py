"""Step lines of one shape, read many at once: digits are taken from equal places of equal layouts.

A run prints one shape of line. Two lines that are the same but for their digits have the same
layout, so a pattern matches both at the same places; it is tried on one line of each layout, and
the digits of all its lines become numbers in a few array operations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_MAX_LAYOUTS = 256  # Per block; a block with more of them is read record by record.
_MAX_DIGITS = 15  # So that every number is exact in float64.
_VALUE = re.compile(rb"(?P<sign>-?)(?P<whole>\d+)(?:\.(?P<decimals>\d*))?")


@dataclass(frozen=True)
class Columns:
    """The numbers of lines, by group of the pattern, and who printed them.

    Attributes:
        numbers: One array of float64 per group, in the order of the groups.
        decimals: The most digits behind the point of each group.
    """

    numbers: list[np.ndarray]
    decimals: list[int]


def read_columns(
    text: bytes, *, starts: np.ndarray, ends: np.ndarray, pattern: re.Pattern[bytes]
) -> Columns | None:
    """Return the groups of `pattern` in every line; None where a line does not match it whole.

    Args:
        text: What the lines are in.
        starts, ends: Of each line, without its line end.
        pattern: Every group matches digits with at most one sign and point. Outside of groups a
            digit may stand for any other digit.
    """
    raw = np.frombuffer(text, dtype=np.uint8)
    flat = np.frombuffer(text.translate(_DIGITS_TO_ZERO), dtype=np.uint8)
    lengths = ends - starts
    numbers = [np.empty(len(starts)) for _ in range(pattern.groups)]
    decimals = [0] * pattern.groups
    num_layouts = 0
    for length in np.unique(lengths).tolist():
        if length == 0:
            return None
        left = np.flatnonzero(lengths == length)
        flat_lines, raw_lines = (sliding_window_view(x, length) for x in (flat, raw))
        while len(left):
            num_layouts += 1
            start = int(starts[left[0]])
            match = pattern.fullmatch(text, start, start + length)
            if match is None or num_layouts > _MAX_LAYOUTS:
                return None
            layout = flat[start : start + length]
            is_same = (flat_lines[starts[left]] == layout).all(axis=1)
            chosen, left = left[is_same], left[~is_same]
            digits = raw_lines[starts[chosen]]
            for group in range(pattern.groups):
                value = _VALUE.fullmatch(match[group + 1])
                if value is None:
                    return None
                begin = match.start(group + 1) - start
                count = len(value["decimals"] or b"")
                found = _integers(digits, begin, value)
                if found is None:
                    return None
                decimals[group] = max(decimals[group], count)
                numbers[group][chosen] = found / 10.0**count if count else found
    return Columns(numbers, decimals)


def _integers(lines: np.ndarray, begin: int, value: re.Match[bytes]) -> np.ndarray | None:
    """Return the digits at one place of every line as integers, the point left out."""
    places = [*range(*value.span("whole"))]
    if value["decimals"]:
        places += range(*value.span("decimals"))
    if len(places) > _MAX_DIGITS:
        return None
    found = np.zeros(len(lines), dtype=np.int64)
    for place in places:
        found *= 10
        found += lines[:, begin + place]
    found -= ord("0") * int("1" * len(places))
    return -found if value["sign"] else found
