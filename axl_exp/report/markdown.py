"""Markdown for a pull request: text that does nothing, details that fold, a size that is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from axl_exp.report.text import one_line

# GitHub takes 65,536 characters in a comment; half of one, where the metrics of a suite stand below
# the diff of the goldens (.github/workflows/review.yml).
MAX_BYTES = 60_000
HALF_BYTES = 31_000
_ENTITIES = {ord(character): f"&#{ord(character)};" for character in "&\\`|<>*_[]~"}


def escape(text: str) -> str:
    """Return `text` as Markdown that says it and does nothing else."""
    return one_line(text).translate(_ENTITIES)


def code(text: str) -> str:
    """Return `text` in the type of code; between backticks an escape would be shown as it is."""
    return f"<code>{escape(text)}</code>"


def folded(summary: str, lines: Sequence[str]) -> str:
    """Return lines of Markdown behind a summary that opens them."""
    return "\n".join(
        ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>", ""]
    )


def fitted(head: str, parts: Iterable[str], *, rest: str, most: int = MAX_BYTES) -> str:
    """Return `head` and as many parts as fit into `most` bytes, then `rest` where some do not."""
    size = len(head.encode())
    for part in parts:
        size += len(part.encode())
        if size > most:
            return f"{head}\n{rest}\n"
        head += part
    return head
