"""Values for people: with their unit where their name says one, and how much they changed."""

from __future__ import annotations

import re

from axl_exp.report.text import format_bytes, format_number, format_seconds

_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?")
# Numbers that name something: how much they changed means nothing.
_NAMES = re.compile(r"(^|[._])(seed|id|index|indices)$")
_SUFFIXES = ((1e12, " T"), (1e9, " B"), (1e6, " M"))


def number_of(text: str) -> float | None:
    """Return the number that a text is, commas allowed; None where it is none."""
    return float(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def describe_value(name: str, text: str) -> str:
    """Return a value in words: `6.61 B`; `24.6 GiB`, `3 min 20 s` where the name ends in a unit."""
    number = number_of(text)
    if number is None:
        return text
    if name.endswith("_bytes"):
        return format_bytes(number)
    if name.endswith("_seconds"):
        return format_seconds(number)
    for size, suffix in _SUFFIXES:
        if abs(number) >= size:
            return format_number(number / size, digits=3) + suffix
    return text


def describe_ratio(name: str, before: str, after: str) -> str:
    """Return ` (+1.3 %)` or, from a factor of two on, ` (x 4)`; nothing where no number changed."""
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old <= 0 or new <= 0 or old == new or _NAMES.search(name):
        return ""
    ratio = new / old
    if ratio >= 2:
        return f" (x {ratio:.3g})"
    if ratio <= 0.5:
        return f" (/ {old / new:.3g})"
    percent = f"{100 * (ratio - 1):+.2g}"
    return f" ({percent} %)"
