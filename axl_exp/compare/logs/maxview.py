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
            if not _MARK.match(head):
                return []
            file.seek(0)
            text = file.read(_MAX_BYTES)
    except OSError:
        return []
    return [match["name"].decode(errors="replace").strip() for match in _heads(text)]


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
    end = heads[index + 1].start() if index + 1 < len(heads) else len(text)
    start = heads[index].end()
    log = parse_log(text[start:end], path=path, first_line=1 + text.count(b"\n", 0, start))
    head = heads[index]
    title, case = _TITLE.search(text), _CASE.search(text)
    page = Page(
        title=title["title"].decode(errors="replace") if title else "",
        case=case["case"].decode() if case else "",
        names=names,
        name=names[index],
        commit=head["commit"].decode(),
        run=head["run"].decode(errors="replace"),
        figures=_figures(text[: heads[0].start()].decode(errors="replace")),
    )
    log.facts["git"] = {"commit": page.commit}
    log.facts["run_name"] = page.case or log.path.stem
    return log, page


def _is_page(path: Path) -> bool:
    with open(path, "rb") as file:
        return _MARK.match(file.read(64)) is not None


def _heads(text: bytes) -> list[re.Match[bytes]]:
    return list(_HEAD.finditer(text))


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
        if match:
            diff = match.groupdict().get("diff") or ""
            found.append(Figure(name, match["a"], match["b"], diff.replace("−", "-")))
    return found
