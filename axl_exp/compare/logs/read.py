"""Reads a log of any format that we know: mends it, finds out what it is, and parses it."""

from __future__ import annotations

import heapq
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from axl_exp.compare.logs.axlearn import AxlearnReader
from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.deepspeed import DeepSpeedReader
from axl_exp.compare.logs.dialect import Dialect, find_records
from axl_exp.compare.logs.hugging_face import HuggingFaceReader
from axl_exp.compare.logs.log import Log, LogError
from axl_exp.compare.logs.maxtext import MaxTextReader
from axl_exp.compare.logs.megatron import MegatronReader
from axl_exp.compare.logs.mend import Mended, mend
from axl_exp.compare.logs.nemo import NemoReader
from axl_exp.compare.logs.numbers import NUMBER
from axl_exp.compare.logs.rows import RowsBuilder
from axl_exp.compare.logs.torchtitan import TorchtitanReader
from axl_exp.report.text import one_line, shorten

# A larger log is read in blocks: labels and cut lines are looked for by samples, failures in the
# first and the last block, text that was not understood in the first.
_WHOLE_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
_CUT_WINDOW = 1 << 16
_SAMPLE_BYTES = 1 << 20
_MAX_TOLD = 5
_NEAR_BYTES = 100


class Reader(Protocol):
    """Reads one format, block by block."""

    dialects: tuple[Dialect, ...]
    heads: re.Pattern[bytes]
    understood: re.Pattern[bytes]

    def __init__(self, log: Log): ...

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        ...

    def finish(self) -> None:
        """Put everything into the log."""
        ...


READERS: tuple[type[Reader], ...] = (
    MaxTextReader,
    MegatronReader,
    NemoReader,
    TorchtitanReader,
    AxlearnReader,
    HuggingFaceReader,
    DeepSpeedReader,
)
_NAMED = re.compile(rb"\(\?P<\w+>")
_RECORDS = tuple(
    re.compile(
        _NAMED.sub(b"(?:", dialect.anchor.pattern)
        + rb"(?:"
        + _NAMED.sub(b"(?:", dialect.field.pattern)
        + rb")*"
    )
    for reader in READERS
    for dialect in reader.dialects
)
# What looks like a metric: a name of one and a number.
_METRIC = re.compile(
    rb"(?i)(?<![\w.])(?:[\w-]*loss|perplexity|ppl|tokens?/s\w*|tps|tgs|t?flops?(?:/s)?[\w/]*|"
    rb"grad[_ ]norm|throughput[\w ()/]{0,20}|samples?/s\w*|(?:ms|s|seconds)/(?:step|it\w*)|mfu)"
    rb"\s*[:=]\s*" + NUMBER
)
# Behind a record, on its line, any name with a number is one that was not read.
_LEFT_OVER = re.compile(rb"(?<![\w.])[A-Za-z][\w/()%-]{0,40} ?[:=] ?" + NUMBER + rb"(?![\w:-])")
_MAX_LEFT_OVER = 200
_FAILURES = re.compile(
    rb"(?P<oom>RESOURCE_EXHAUSTED[^\n]{0,160}|CUDA out of memory[^\n]{0,120}|OutOfMemoryError)"
    rb"|Traceback \(most recent call last\)|EXIT_CODE=(?P<code>[1-9]\d*)"
)
_ERROR_LINE = re.compile(
    rb"\n(?P<error>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)\b[^\n]{0,160})"
)


def read_log(path: Path) -> Log:
    """Return the log at `path`.

    Raises:
        LogError: It cannot be read, is empty or binary, or no format that we know is in it.
    """
    try:
        size = os.path.getsize(path)
        if size == 0:
            raise LogError(f"{path} is empty.")
        if size <= _WHOLE_BYTES:
            return parse_log(path.read_bytes(), path=path)
        with open(path, "rb") as file:
            return _parse(_blocks(file), path)
    except OSError as error:
        raise LogError(f"cannot read {path}: {error.strerror}") from error


def parse_log(text: bytes, *, path: Path, first_line: int = 1) -> Log:
    """Return the log whose whole text is `text`, and which begins at `first_line` of its file.

    Raises:
        LogError: As `read_log`.
    """
    return _parse(iter([(mend(text, records=_RECORDS), True)]), path, first_line=first_line)


def _blocks(file: BinaryIO) -> Iterator[tuple[Mended, bool]]:
    """Yield the text of a file in blocks, and of each whether it is the last."""
    text = file.read(_BLOCK_BYTES)
    while text:
        chunk = file.read(_BLOCK_BYTES)
        cut = _cut(text) if chunk else len(text)
        yield mend(text[:cut], records=_RECORDS, by_sample=True), not chunk
        text = text[cut:] + chunk


def _cut(text: bytes) -> int:
    """Return where a block ends: behind a line, or a record where line ends are rare."""
    cut = text.rfind(b"\n") + 1
    if cut >= len(text) // 2:
        return cut
    start = len(text) - min(_CUT_WINDOW, len(text) // 2)
    found = (list(find_records(text, reader.dialects, start=start)) for reader in READERS)
    ends = [records[-2].end for records in found if len(records) > 1]  # The last may be cut.
    return max(ends, default=start)


def _parse(blocks: Iterator[tuple[Mended, bool]], path: Path, *, first_line: int = 1) -> Log:
    empty = RowsBuilder().finish()
    log = Log(path=path, format="", rows=empty, evals=empty)
    reader: Reader | None = None
    repairs: Counter[str] = Counter()
    num_bytes, num_zeros, is_first = 0, 0, True
    for mended, is_last in blocks:
        num_bytes += len(mended.text)
        num_zeros += mended.text.count(b"\0") if b"\0" in mended.text else 0
        if 50 * num_zeros > num_bytes:
            raise LogError(f"{path} is binary, not a log: {num_zeros:,} zero bytes.")
        repairs += mended.repairs
        block = Block(mended.text, first_line, mended.labels, is_first, is_last)
        if reader is None and (found := _detect(mended.text)) is not None:
            log.format, reader = found.dialects[0].format, found(log)
            log.notes.extend(_others_told(mended.text, found))
        if reader is not None:
            spans = reader.read(block)
            if is_first or is_last:
                _find_failure(block, log)
            if is_first:
                _find_not_understood(block, log, spans, reader.understood)
        first_line += block.num_line_ends
        is_first = reader is None
    if reader is None:
        raise LogError(
            f"{path} is no log that we can read: it holds no step line of "
            f"{', '.join(r.dialects[0].format for r in READERS)}, and nothing that they print at "
            "their start."
        )
    reader.finish()
    log.repairs.extend(f"{what}: {count:,}" for what, count in repairs.items())
    return log


def _detect(text: bytes) -> type[Reader] | None:
    """Return the reader of the format with most step records; without records, by its head."""
    if len(text) > _SAMPLE_BYTES and (found := _detect(text[:_SAMPLE_BYTES])):
        return found
    counts = [
        (sum(1 for d in r.dialects if d.may_be_in(text) for _ in d.anchor.finditer(text)), r)
        for r in READERS
    ]
    most, reader = max(counts, key=lambda pair: pair[0])
    if most:
        return reader
    return next((r for r in READERS if r.heads.search(text)), None)


def _others_told(text: bytes, reader: type[Reader]) -> list[str]:
    """Return in words which other trainers' step records a text begins with."""
    notes = []
    for other in READERS:
        found = (d.anchor.finditer(text, 0, _SAMPLE_BYTES) for d in other.dialects)
        count = sum(1 for matches in found for _ in matches)
        if other is not reader and count:
            what = f"{count:,} step records of {other.dialects[0].format}"
            notes.append(f"it holds {what} besides, which are not read")
    return notes


def _find_failure(block: Block, log: Log) -> None:
    """Note the error that ended the run: a result, not an error of parsing."""
    text = block.text
    if not any(
        n in text for n in (b"Traceback (", b"RESOURCE_EXH", b"ut of memory", b"EXIT_CODE=")
    ):
        return
    for match in _FAILURES.finditer(text):
        if match["oom"]:
            told = match["oom"]
        elif match["code"]:
            told = b"exit code " + match["code"]
        else:
            error = _ERROR_LINE.search(text, match.end(), match.end() + 100_000)
            told = error["error"] if error else b"a traceback"
        if not log.failure or match["oom"]:
            line = block.line(match.start())
            log.failure = f"line {line}: {one_line(told.decode(errors='replace')).strip()}"


def _find_not_understood(
    block: Block, log: Log, spans: list[tuple[int, int]], understood: re.Pattern[bytes]
) -> None:
    """Count metric-looking text outside of what was read."""
    starts = np.array([start for start, _ in spans] or [0])
    ends = np.array([end for _, end in spans] or [0])
    order = np.argsort(starts)
    starts, ends = starts[order], ends[order]
    seen = -1
    found = heapq.merge(
        _METRIC.finditer(block.text), _left_over(block, starts, ends), key=re.Match.start
    )
    for match in found:
        index = int(np.searchsorted(starts, match.start(), side="right")) - 1
        if index >= 0 and match.start() < ends[index]:
            continue
        begin = max(block.text.rfind(b"\n", 0, match.start()), match.start() - _NEAR_BYTES)
        end = block.text.find(b"\n", match.end(), match.end() + _NEAR_BYTES)
        if understood.search(block.text, max(0, begin), end if end > 0 else match.end()):
            continue
        line = block.line(match.start())
        if line == seen:
            continue
        seen = line
        log.num_not_understood += 1
        if len(log.not_understood) < _MAX_TOLD:
            told = block.text[match.start() : end if end > 0 else match.end()]
            text = shorten(one_line(told.decode(errors="replace")), width=100)
            log.not_understood.append((line, text))


def _left_over(block: Block, starts: np.ndarray, ends: np.ndarray) -> Iterator[re.Match[bytes]]:
    """Yield the first name with a number between the end of each record and that of its line."""
    text = block.text
    next_starts = np.append(starts[1:], len(text))
    for end, next_start in zip(ends.tolist(), next_starts.tolist(), strict=True):
        line_end = text.find(b"\n", end, min(end + _MAX_LEFT_OVER, next_start))
        if line_end > end and (match := _LEFT_OVER.search(text, end, line_end)):
            yield match
