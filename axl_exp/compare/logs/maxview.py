"""Files of two logs: pages of MaxView, with the figures shown above them, and word-diffs.

What the page shows is kept as the page's own, beside what the logs say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from axl_exp.compare.logs import word_diff
from axl_exp.compare.logs.log import Log, LogError
from axl_exp.compare.logs.read import parse_log, read_log
from axl_exp.compare.logs.word_diff import is_word_diff, one_side

_MAX_BYTES = 64 << 20
_HEAD_BYTES = 1 << 20
_MARK = re.compile(rb"\A\s*(?:\xef\xbb\xbf)?MaxView\b")
# The head of each log: `Linen · 574ad3fb9 · run · full log`.
_DOT = rb"(?:\s|\xc2\xa0)+\xc2\xb7(?:\s|\xc2\xa0)+"
_HEAD = re.compile(
    rb"^(?P<name>[^\n\xc2]{1,60}?)" + _DOT + rb"(?P<commit>[0-9a-f]{7,40})" + _DOT
    + rb"(?P<run>[^\n\xc2]{1,200}?)" + _DOT + rb"full log\s*$",
    re.M,
)  # fmt: skip
_TITLE = re.compile(rb"^Metrics: (?P<title>[^\n]{1,200})$", re.M)
# A page that was copied without these heads tells the two names in its title, and each log begins
# with the launcher's line.
_COMPARED = re.compile(
    rb"(?P<a>[^\s|]{1,80})(?: \((?P<a_commit>[0-9a-f]{7,40})\))? vs "
    rb"(?P<b>[^\s|]{1,80})(?: \((?P<b_commit>[0-9a-f]{7,40})\))?"
)
_COMMIT = rb"(?:\s|\xc2\xa0){1,8}(?P<commit>[0-9a-f]{9})"
_DIFF = re.compile(rb"^Diff = [^\n]{1,200} value[^\n]{0,200}improved", re.M)
_LAUNCHED = re.compile(rb"\bXPK Start: ")
_CASE = re.compile(rb"Case: ?(?P<case>\d\d_\w+?)(?=\d\d_|\s|$)")
# Figures stand without a space between the columns; what separates them is how each is rounded.
_FIGURES = {
    "Parameters": r"(?P<a>[\d.]+ [bm]illion)(?P<b>[\d.]+ [bm]illion)",
    "Final loss": r"(?P<a>-?\d+\.\d{4})(?P<b>-?\d+\.\d{4})(?P<diff>[-+−]?[\d.]+)",
    "TFLOP/s": r"(?P<a>\d+\.\d{3})(?P<b>\d+\.\d{3})(?P<diff>[-+−]?[\d.]+)",
    "Tok/s": r"(?P<a>\d+\.\d)(?P<b>\d+\.\d)(?P<diff>[-+−]?[\d.]+)",
    "Avg s/step": r"(?P<a>\d+\.\d{3})(?P<b>\d+\.\d{3})(?P<diff>[-+−]?[\d.]+)",
    "Memory %": r"(?P<a>\d+\.\d\d)(?P<b>\d+\.\d\d)(?P<diff>[-+−]?[\d.]+)",
    "JAX": r"(?P<a>\d+\.\d+\.\d)(?P<b>\d+\.\d+\.\d+)",
}
# The same as a table of Markdown.
_ROW = r"^\|\s*{}\s*\|\s*(?P<a>[^|\n]+?)\s*\|\s*(?P<b>[^|\n]+?)\s*\|\s*(?P<diff>[^|\n]*?)\s*\|\s*$"


@dataclass(frozen=True)
class _Head:
    """What stands before one log of a page, which goes from `end` to the next head's `start`."""

    name: str
    commit: str
    run: str
    start: int
    end: int


@dataclass(frozen=True)
class Figure:
    """One row of the page's table, as text: what it shows, not what is so."""

    name: str
    a: str
    b: str
    diff: str


@dataclass(frozen=True)
class Page:
    """A page: its figures, and which of its logs this is.

    Attributes:
        names: Of all logs on the page, in order.
        name: Of this log.
        commit, run: Of this log, as the page says; empty where it does not.
    """

    title: str
    case: str
    names: list[str]
    name: str
    commit: str
    run: str
    figures: list[Figure] = field(default_factory=list)


def page_names(path: Path) -> list[str]:
    """Return the names of the logs on the page at `path`; empty where it is no page."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            if is_word_diff(head):
                return list(word_diff.NAMES)
            if not (_MARK.match(head) or _DIFF.search(head)):
                return []
            file.seek(0)
            text = file.read(_MAX_BYTES)
    except OSError:
        return []
    return [head.name for head in _heads(text)]


def read_logs(path: Path, *, part: str) -> tuple[Log, Page | None]:
    """Return the log at `path`, and the page that it stands in where it stands in one.

    Args:
        path: A log or a page.
        part: The name of the log on the page, or its number from 1; empty where there is one only.

    Raises:
        LogError: As `read_log`; or the page holds several logs, or none of that name.
    """
    names = page_names(path)
    if not names:
        if part:
            raise LogError(f"{path} is not a page of several logs, so it has no part {part!r}.")
        log = read_log(path)
        is_page = _is_page(path)
        return log, Page("", "", [""], "", "", "") if is_page else None
    text = path.read_bytes()
    index = _choose(path, names, part)
    if is_word_diff(text[:_HEAD_BYTES]):
        log = parse_log(one_side(text, names[index]), path=path)
        log.repairs.append("two logs in one word-diff taken apart")
        return log, None
    heads = _heads(text)
    end = heads[index + 1].start if index + 1 < len(heads) else len(text)
    start = heads[index].end
    log = parse_log(text[start:end], path=path, first_line=1 + text.count(b"\n", 0, start))
    head = heads[index]
    title, case = _TITLE.search(text), _CASE.search(text)
    page = Page(
        title=title["title"].decode(errors="replace") if title else "",
        case=case["case"].decode() if case else "",
        names=names,
        name=names[index],
        commit=head.commit,
        run=head.run,
        figures=_figures(text[: heads[0].start].decode(errors="replace")),
    )
    if page.commit:
        log.facts["git"] = {"commit": page.commit}
    log.facts["run_name"] = page.case or log.path.stem
    return log, page


def _is_page(path: Path) -> bool:
    with open(path, "rb") as file:
        return _MARK.match(file.read(64)) is not None


def _heads(text: bytes) -> list[_Head]:
    found = [
        _Head(
            name=match["name"].decode(errors="replace").strip(),
            commit=match["commit"].decode(),
            run=match["run"].decode(errors="replace"),
            start=match.start(),
            end=match.end(),
        )
        for match in _HEAD.finditer(text)
    ]
    diff = _DIFF.search(text, 0, _HEAD_BYTES)
    if found or diff is None:
        return found
    compared = _COMPARED.search(text, 0, diff.start())
    launched = [match.start() for match in _LAUNCHED.finditer(text, diff.end())]
    if compared is None or len(launched) != 2:
        return []
    return [
        _Head(
            name=compared[side].decode(errors="replace"),
            commit=_commit(text[: diff.start()], compared, side),
            run="",
            start=start,
            end=start,
        )
        for side, start in zip("ab", launched, strict=True)
    ]


def _commit(head: bytes, compared: re.Match[bytes], side: str) -> str:
    """Return the commit of a side, as the title tells it or else the table's head."""
    found = re.search(re.escape(compared[side]) + _COMMIT, head)
    return (compared[f"{side}_commit"] or (found["commit"] if found else b"")).decode()


def _choose(path: Path, names: list[str], part: str) -> int:
    if part in names:
        return names.index(part)
    if part.isdigit() and 1 <= int(part) <= len(names):
        return int(part) - 1
    if not part and len(names) == 1:
        return 0
    told = " or ".join(f"{path}#{name}" for name in names)
    what = f"has no log {part!r}" if part else f"holds {len(names)} logs"
    raise LogError(f"{path} {what}: write {told}.")


def _figures(text: str) -> list[Figure]:
    found = []
    for name, pattern in _FIGURES.items():
        match = re.search(rf"^\s*{re.escape(name)}\s*{pattern}\s*$", text, re.M)
        match = match or re.search(_ROW.format(re.escape(name)), text, re.M)
        if match:
            diff = match.groupdict().get("diff") or ""
            found.append(Figure(name, match["a"], match["b"], diff.strip("—").replace("−", "-")))
    return found
