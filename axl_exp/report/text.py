"""Numbers, sizes, durations and untrusted text in words. Standard library only."""

from __future__ import annotations

import math
import re

# Everything that moves a cursor, changes a colour, reorders text or ends a line in disguise:
# C0 but tab and newline, DEL, C1, line separators, bidirectional marks, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return `text` with every control character spelled out (`\\x1b`); newlines and tabs stay.

    Text from files is data: an escape code in a config value or a log must not act on the terminal
    that shows it.
    """
    return _UNPRINTABLE.sub(_spell_out, text)


def one_line(text: str) -> str:
    """Return `printable(text)` with newlines and tabs spelled out too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _spell_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shorten(text: str, *, width: int) -> str:
    """Return `text` cut in its middle to `width` characters, the cut shown as `…`.

    The middle, because paths and config values differ at their ends.
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + (text[-tail:] if tail else "")


def format_number(value: float, *, digits: int = 4) -> str:
    """Return `value` with `digits` significant digits: `0.02341`, `12,345`, `3.1e-07`, `nan`.

    Integers are whole, with thousands separators. Large floats keep every digit before the point.
    """
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude >= 12:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def format_bytes(num_bytes: float) -> str:
    """Return a size in binary units: `512 B`, `1.50 KiB`, `12.3 GiB`."""
    size, units = float(num_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(size) >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    if units[0] == "B":
        return f"{size:.0f} B"
    return f"{size:.{2 if abs(size) < 10 else 1 if abs(size) < 100 else 0}f} {units[0]}"


def format_seconds(seconds: float) -> str:
    """Return a duration: `23.4 ms`, `1.25 s`, `2 min 05 s`, `3 h 12 min`."""
    if not math.isfinite(seconds):
        return str(seconds)
    if seconds < 0:
        return f"-{format_seconds(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 1e-3:
        return f"{format_number(seconds * 1e6, digits=3)} µs"
    if seconds < 1:
        return f"{format_number(seconds * 1e3, digits=3)} ms"
    if seconds < 60:
        return f"{format_number(float(seconds), digits=3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
