"""When a record was printed: the timestamp in front of it, and who wrote it where that is told."""

from __future__ import annotations

import datetime
import re

DAYS_BEFORE_MONTH = (0, 0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)  # A leap year's.
_ABSL = re.compile(
    rb"[IWEF](?P<month>\d\d)(?P<day>\d\d) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d(?:\.\d+)?)"
    rb"\s+(?P<thread>\d+) [^\]\n]{1,120}\]"
)
_ISO = re.compile(
    rb"(?P<date>\d{4}[-/]\d\d[-/]\d\d|20\d{6})[ T](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d+))?"
)
_FRACTION = re.compile(rb"\d\d:\d\d:\d\d[.,]\d{3}")


def absl_clock(before: bytes) -> tuple[float, bytes]:
    """Return seconds since New Year and the thread of the last absl prefix in `before`.

    Where there is none, a collector's stamp on the line tells, if it has a fraction of a second.
    """
    start = before.rfind(b"] ")
    found = max(_ABSL.finditer(before), key=re.Match.end, default=None)
    if found is None or found.end() < start or not 1 <= int(found["month"]) <= 12:
        line = before[before.rfind(b"\n") + 1 :]
        return stamp_clock(line) if _FRACTION.search(line) else (float("nan"), b"")
    days = DAYS_BEFORE_MONTH[int(found["month"])] + int(found["day"])
    seconds = 3600 * int(found["h"]) + 60 * int(found["m"]) + float(found["s"])
    return 86400.0 * days + seconds, found["thread"]


def line_clock(before: bytes) -> tuple[float, bytes]:
    """Return the seconds of the last `2025-06-28 18:42:27,123` on the line of the record."""
    return stamp_clock(before[before.rfind(b"\n") + 1 :])


def stamp_clock(before: bytes) -> tuple[float, bytes]:
    """Return the seconds of the last `2025-06-28 18:42:27` in `before`; who wrote is not told."""
    match = max(_ISO.finditer(before), key=re.Match.end, default=None)
    if match is None:
        return float("nan"), b""
    date = match["date"].decode().replace("/", "-")
    try:
        moment = datetime.datetime.fromisoformat(f"{date} {match['time'].decode()}")
    except ValueError:
        return float("nan"), b""
    seconds = moment.replace(tzinfo=datetime.UTC).timestamp()
    return seconds + float(b"0." + (match["part"] or b"0")), b""
