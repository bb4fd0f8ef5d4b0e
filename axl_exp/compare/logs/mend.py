"""Makes the text of a log plain again: escapes, labels, line ends, and lines that were cut.

Nothing is dropped in silence: every kind of repair is counted and told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from axl_exp.compare.logs.unpack import unpack

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\^_])|\x1b"
)
# What launchers put before every line: `0: `, `[default3]:`, `[rank0]:`, `(name, pid=1) `, `# `.
_LABEL = re.compile(
    rb"(?:\s*(?:\d{1,6}:(?: |$)|\[[A-Za-z]*\d+\]:|\[[\w.-]{1,60}:\d+\]:|"
    rb"\([\w.-]+,? (?:pid|rank)=\d+[^()\n]{0,40}\)|#(?: |$)))+ ?"
)
_DIGITS = re.compile(rb"\d{1,18}")
# How an entry of a log begins. A line that begins otherwise may be the rest of the one before.
_HEAD = re.compile(
    rb"\s*(?:[IWEF]\d{4} \d\d:|\d{4}[-/]\d\d|\[|steps?:|\{['\"]|iteration\s|completed |Completed |"
    rb"Training epoch |Epoch \d|Step Time|Per train|XPK |Config param|Memstats|Using |rank \d|>|"
    rb"\(min|validation loss|EXIT_CODE|TIMESTAMP|Traceback)"
)
# Only a line in which a record begins, or may begin at its cut end, is tried with the next one.
# Where the prefix of a logger stands in the middle of a line, and how long lines then are.
_ENTRY = re.compile(
    rb" (?=[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.-]+:\d+\] "
    rb"|(?:\[rank\d+\]:)?(?:\[titan\] )?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - )"
)
_FOLDED_WIDTH = 2000
_MAY_BREAK = re.compile(rb"step|iteration|(?:[cC]omp\w*|ste?|it\w*)$")
_MAX_RECORD = 4096
_LETTER = re.compile(rb"[A-Za-z]")
_WORD = re.compile(rb"(?!(?:[KMGT]i?B|FLOPS|m?s)\b)[A-Za-z]")
_MAX_HEAD = 400  # What may stand in front of a record on its line, and the record's beginning.
_SAMPLE_BYTES = 1 << 16
_MIN_WRAPPED = 3
_MAX_WRAP_WIDTH = 512
_MIN_WRAP_WIDTH = 20


@dataclass
class Mended:
    """Plain text of a log.

    Attributes:
        text: The text; line k of it is line k of the file, but where JSON was unpacked.
        labels: Label of each line, where lines carry labels; else empty.
        repairs: Kind of repair -> how often.
    """

    text: bytes
    labels: list[bytes] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)


def mend(text: bytes, *, records: Sequence[re.Pattern[bytes]], by_sample: bool = False) -> Mended:
    """Return the plain text of `text`; text that is plain already comes back as it is.

    Args:
        text: Whole lines.
        records: What step records look like: lines are joined where that makes one longer.
        by_sample: Look for labels and cut lines in the first part only, and leave the lines alone
            where it has none.
    """
    mended = Mended(text)
    _decode_utf16(mended)
    mended.text, repairs = unpack(mended.text)
    mended.repairs += repairs
    if b"\x1b" in mended.text:
        mended.text, count = _ESCAPE.subn(b"", mended.text)
        mended.repairs["terminal escape codes removed"] += count
    if b"\r" in mended.text:
        num_crlf = mended.text.count(b"\r\n")
        mended.text = mended.text.replace(b"\r\n", b"\n")
        num_alone = mended.text.count(b"\r")
        mended.text = mended.text.replace(b"\r", b"\n")
        mended.repairs["CRLF line ends"] += num_crlf
        mended.repairs["carriage returns read as line ends"] += num_alone
    if mended.text.count(b"\n") * _FOLDED_WIDTH < len(mended.text):
        mended.text, count = _ENTRY.subn(b"\n", mended.text)
        mended.repairs["line ends put back before a logger's prefix"] += count
    sample = Mended(mended.text[:_SAMPLE_BYTES])
    if by_sample and len(mended.text) > _SAMPLE_BYTES:
        _mend_lines(sample, records)
    if not by_sample or sample.repairs:
        _mend_lines(mended, records)
    mended.repairs = +mended.repairs
    return mended


def _decode_utf16(mended: Mended) -> None:
    if mended.text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        mended.text = mended.text.decode("utf-16", errors="replace").encode()
        mended.repairs["UTF-16 read"] += 1


def _mend_lines(mended: Mended, records: Sequence[re.Pattern[bytes]]) -> None:
    """Take labels off and join lines that were cut; leaves text without either untouched."""
    lines = mended.text.split(b"\n")
    labelled = [_LABEL.match(line) for line in lines]
    num_full = sum(bool(line.strip()) for line in lines)
    num_labelled = sum(match is not None for match in labelled)
    labels: list[bytes] = []
    if num_labelled >= 2 and 2 * num_labelled > num_full:
        labels = [b"" if match is None else match[0].strip() for match in labelled]
        lines = [
            line if m is None else line[m.end() :] for line, m in zip(lines, labelled, strict=True)
        ]
        if 2 * len(set(labels)) > num_labelled:  # Ranks print more than one line each.
            mended.repairs["line numbers taken off"] += num_labelled
            labels = [b""] * len(labels)
        else:
            mended.repairs["labels of ranks or hosts taken off"] += num_labelled
    num_joined = _join_cut(lines, labels, records, width=_wrap_width(lines, records))
    if labels or num_joined:
        mended.repairs["cut lines joined"] += num_joined
        mended.labels = labels
        mended.text = b"\n".join(lines)


def _wrap_width(lines: list[bytes], records: Sequence[re.Pattern[bytes]]) -> int:
    """Return the width at which records were wrapped, 0 where they were not.

    A wrapped text has many lines of exactly the greatest length, what follows them begins no entry
    of its own, and records go on there.
    """
    width = max(map(len, lines), default=0)
    if not _MIN_WRAP_WIDTH <= width <= _MAX_WRAP_WIDTH:
        return 0
    full = [i for i in range(len(lines) - 1) if len(lines[i]) == width]
    rests = [
        i
        for i in full
        if lines[i + 1]
        and not _HEAD.match(lines[i + 1])
        and not _begins_record(lines[i + 1], records)
    ]
    if len(rests) < _MIN_WRAPPED or 2 * len(rests) <= len(full):
        return 0
    num_records = sum(bool(_MAY_BREAK.search(lines[i])) for i in rests)
    num_cut = sum(_continues([lines[i]], lines[i + 1], records) for i in rests)
    return width if 2 * num_cut >= num_records else 0


def _join_cut(
    lines: list[bytes], labels: list[bytes], records: Sequence[re.Pattern[bytes]], *, width: int
) -> int:
    """Append to a cut line what follows it; what was appended becomes an empty line.

    Returns:
        The number of lines that were joined to one before.
    """
    start_of: dict[bytes, int] = {}  # label -> the line that a cut would go on with.
    parts_of: dict[int, list[bytes]] = {}
    num_joined = 0
    for i, line in enumerate(lines):
        label = labels[i] if labels else b""
        start = start_of.get(label)
        if start is not None and line and not _HEAD.match(line):
            parts = parts_of.get(start) or [lines[start]]
            is_rest = len(parts[-1]) == width and not _begins_record(line, records)
            if is_rest if width else _continues(parts, line, records, is_labelled=bool(label)):
                parts_of[start] = [*parts, line]
                lines[i] = b""
                num_joined += 1
                continue
        if line:
            start_of[label] = i
    for i, parts in parts_of.items():
        lines[i] = b"".join(parts)
    return num_joined


def _begins_record(line: bytes, records: Sequence[re.Pattern[bytes]]) -> bool:
    return any(record.search(line, 0, _MAX_HEAD) for record in records)


def _continues(
    parts: list[bytes],
    rest: bytes,
    records: Sequence[re.Pattern[bytes]],
    *,
    is_labelled: bool = False,
) -> bool:
    """Return whether `rest` goes on with a step record that `parts` broke off.

    A line in which a record of its own begins goes on with none. Digits alone do only where they
    are the whole line and a launcher's label stands before both, for it is labels that cut a
    line anywhere. A word behind a whole number does not, but for a unit.
    """
    tail = parts[-1][-_MAX_RECORD:] if len(parts) == 1 else b"".join(parts)[-_MAX_RECORD:]
    if not _MAY_BREAK.search(tail):
        return False
    if _begins_record(rest, records):
        return False
    joined = tail + rest[:_MAX_RECORD]
    for record in records:
        for match in record.finditer(joined):
            if match.start() < len(tail) < match.end():
                alone = record.match(tail, match.start())
                is_whole = alone is not None and alone.end() == len(tail)
                gained = joined[len(tail) : match.end()]
                if not _LETTER.search(gained):
                    return is_labelled and match.end() >= len(joined.rstrip())
                ends_in_number = is_whole and tail[-1:].isdigit()
                return not (ends_in_number and _WORD.match(gained))
    return False


def rank_of(label: bytes) -> int:
    """Return the number in a label; the first one of several; -1 for none."""
    match = _DIGITS.search(label)
    return int(match[0]) if match else -1
