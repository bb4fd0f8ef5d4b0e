"""Numbers as logs print them, and the unit of the last digit that was printed."""

from __future__ import annotations

import re

# Thousands separators need three digits behind each comma: `1,234` is one number, `1, 2` two.
NUMBER = (
    rb"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    rb"|nan\b|NaN\b|NAN\b|inf(?:inity)?\b|Inf(?:inity)?\b)"
)
_DECIMAL = re.compile(rb"[-+]?[\d,]*\.?(?P<decimals>\d*)(?:[eE](?P<exponent>[-+]?\d+))?")
_MAX_EXPONENT = 400


def read_number(text: bytes) -> float:
    """Return the value of a text that NUMBER matches; beyond the largest float it is inf."""
    return float(text.replace(b",", b""))


def quantum(text: bytes) -> float:
    """Return the unit of the last digit of `text`: 0.001 for `8.174`, 1e-05 for `1.08123E+01`.

    Zero for what has no last digit: nan, inf, and integers, which are printed whole.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match["decimals"] or match["exponent"]):
        return 0.0
    exponent = int(match["exponent"] or 0) - len(match["decimals"])
    return 10.0**exponent if abs(exponent) < _MAX_EXPONENT else 0.0
