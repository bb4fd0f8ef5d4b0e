from __future__ import annotations

import math

import pytest

from axl_exp.report.text import (
    format_bytes,
    format_number,
    format_seconds,
    one_line,
    printable,
    shorten,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü 漢\n\t", "plain ü 漢\n\t"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\rb\x08\x07\x00\x7f\x9b", "a\\x0db\\x08\\x07\\x00\\x7f\\x9b"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_spelled_out(text: str, expected: str):
    assert printable(text) == expected


def test_one_line_is_one_line():
    assert one_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghij", 9, "abcd…ghij"),
        ("abcdefghij", 5, "ab…ij"),
        ("abcdefghij", 2, "a…"),
        ("abcdefghij", 1, "…"),
    ],
)
def test_the_middle_is_cut(text: str, width: int, expected: str):
    assert shorten(text, width=width) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (0.0234567, "0.02346"),
        (9.99999, "10.000"),
        (12345.678, "12,346"),
        (-0.5, "-0.5000"),
        (3.14159e-7, "3.142e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_have_four_significant_digits(value: float, expected: str):
    assert format_number(value) == expected


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (12.3 * 2**30, "12.3 GiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_sizes_are_binary(num_bytes: float, expected: str):
    assert format_bytes(num_bytes) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (2.5e-5, "25.0 µs"),
        (0.0234, "23.4 ms"),
        (1.254, "1.25 s"),
        (59.96, "60.0 s"),
        (125.4, "2 min 05 s"),
        (3599.9, "1 h 00 min"),
        (11520, "3 h 12 min"),
        (-1.5, "-1.50 s"),
        (math.inf, "inf"),
    ],
)
def test_durations_are_in_the_unit_that_people_use(seconds: float, expected: str):
    assert format_seconds(seconds) == expected
