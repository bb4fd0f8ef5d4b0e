"""When a record was printed: the timestamp in front of it, and who wrote it where that is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LEAP_YEAR = 2000  # Of clocks that print no year.


@dataclass(frozen=True)
class Clock:
    """How a trainer prints the time.

    Attributes:
        pattern: Groups of digits: `month`, `day`, `h`, `m`, `s`; where it has them `year`, `part`
            (behind the point of the seconds) and `writer` (who printed it).
        is_on_line: Whether it counts only on the record's own line.
        last: What may not stand between it and the record; empty for anything.
        otherwise: The clock that tells where this one does not.
    """

    pattern: re.Pattern[bytes]
    is_on_line: bool = False
    last: bytes = b""
    otherwise: Clock | None = None

    def find(self, before: bytes) -> re.Match[bytes] | None:
        """Return the last timestamp in `before`, the text in front of a record."""
        start = before.rfind(b"\n") + 1 if self.is_on_line else 0
        found = max(self.pattern.finditer(before, start), key=re.Match.end, default=None)
        if found is not None and self.last and before.find(self.last, found.end()) >= 0:
            found = None
        return self.otherwise.find(before) if found is None and self.otherwise else found

    def __call__(self, before: bytes) -> tuple[float, bytes]:
        """Return the seconds since some epoch and who wrote; NaN and nothing where untold."""
        found = self.find(before)
        if found is None:
            return float("nan"), b""
        told = {name: digits for name, digits in found.groupdict().items() if digits is not None}
        numbers = {name: int(digits) for name, digits in told.items()}
        if not is_moment(numbers):
            return float("nan"), b""
        return seconds_of(numbers, num_digits=len(told.get("part", b""))), told.get("writer", b"")


def is_moment(numbers: Mapping[str, Any]) -> Any:
    """Return whether numbers make a moment; a mask where they are arrays."""
    month, day, h, m, s = (numbers[name] for name in ("month", "day", "h", "m", "s"))
    is_date = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return is_date & (h < 24) & (m < 60) & (s <= 60)


def seconds_of(numbers: Mapping[str, Any], *, num_digits: int) -> Any:
    """Return the seconds since 1970, or since New Year where no year is told.

    Of integers or of arrays of them; by one division, so that it is the nearest float. `part` has
    `num_digits` digits.
    """
    days = _days(numbers.get("year", _LEAP_YEAR), numbers["month"], numbers["day"])
    if "year" not in numbers:
        days = days - _days(_LEAP_YEAR, 1, 1)
    whole = 86400 * days + 3600 * numbers["h"] + 60 * numbers["m"] + numbers["s"]
    return (whole * 10**num_digits + numbers.get("part", 0)) / 10**num_digits


def _days(year: Any, month: Any, day: Any) -> Any:
    """Return the days from 1970-01-01 in the Gregorian calendar.

    Of years that begin in March, so that the leap day is the last one; 719,468 days lie between
    their first and 1970.
    """
    year = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719468


_TIME = rb"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_DATE = rb"(?P<year>\d{4}(?=[-/])|20\d\d)[-/]?(?P<month>\d\d)[-/]?(?P<day>\d\d)[ T]"
_ISO = re.compile(_DATE + _TIME + rb"(?:[.,](?P<part>\d{1,9})\d*)?")
# `2025-06-28 18:42:27,123`, on the line of the record or anywhere before it.
line_clock = Clock(_ISO, is_on_line=True)
stamp_clock = Clock(_ISO)
# Of absl, `I0628 18:42:27.123456 1319 trainer.py:10] `; where there is none a collector's stamp on
# the line tells, if it has a fraction of a second.
absl_clock = Clock(
    re.compile(
        rb"[IWEF](?P<month>\d\d)(?P<day>\d\d) " + _TIME + rb"(?:\.(?P<part>\d{1,9})\d*)?"
        rb"\s+(?P<writer>\d+) [^\]\n]{1,120}\]"
    ),
    last=b"] ",
    otherwise=Clock(re.compile(_DATE + _TIME + rb"[.,](?P<part>\d{3,9})\d*"), is_on_line=True),
)
