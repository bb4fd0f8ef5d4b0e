"""Two logs as one word-diff: what only the old one has and what only the new one has, taken apart.

As `git diff --word-diff` prints it: `[-old-]{+new+}`, or in colour, red and green without marks.
"""

from __future__ import annotations

import re

NAMES = ["old", "new"]
_MIN_CHANGES = 3
_RESET = rb"\x1b\[0?m"
_PLAIN = re.compile(rb"\[-(?P<old>[^\n]*?)-\]|\{\+(?P<new>[^\n]*?)\+\}")
_COLOURED = re.compile(
    rb"\x1b\[(?:0;|1;)?(?:31|91)m(?P<old>[^\x1b\n]*)" + _RESET
    + rb"|\x1b\[(?:0;|1;)?(?:32|92)m(?P<new>[^\x1b\n]*)" + _RESET
)  # fmt: skip
# Old and new at once: colour alone can mean anything, as torchtitan's red step and green loss.
_PAIRS = (
    (re.compile(rb"\[-[^\n]*?-\](?:\x1b\[[\d;]*m)*\{\+[^\n]*?\+\}"), _PLAIN),
    (
        re.compile(
            rb"\x1b\[(?:0;|1;)?(?:31|91)m[^\x1b\n]*" + _RESET
            + rb"\x1b\[(?:0;|1;)?(?:32|92)m[^\x1b\n]*" + _RESET
        ),
        _COLOURED,
    ),
)  # fmt: skip


def is_word_diff(text: bytes) -> bool:
    """Return whether `text` is two logs in one."""
    return _pattern(text) is not None


def one_side(text: bytes, name: str) -> bytes:
    """Return the text of one of NAMES; `text` as it is where it is no word-diff."""
    pattern = _pattern(text)
    if pattern is None:
        return text
    return pattern.sub(lambda match: match[name] or b"", text)


def _pattern(text: bytes) -> re.Pattern[bytes] | None:
    for pair, pattern in _PAIRS:
        found = pair.finditer(text)
        if all(next(found, None) for _ in range(_MIN_CHANGES)):
            return pattern
    return None
