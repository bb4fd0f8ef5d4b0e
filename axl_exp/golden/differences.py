"""What differs between two golden trees, the same difference over many configs told once."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from axl_exp.config import ConfigError
from axl_exp.config.delta import change_text
from axl_exp.config.diff import diff
from axl_exp.config.parse import parse_text
from axl_exp.golden.trees import CONFIG_FILE, Tree

JSON_SCHEMA = "axl_exp.golden/1"


@dataclasses.dataclass(frozen=True)
class Difference:
    """The same rows in one or more files."""

    files: tuple[str, ...]

    rows: tuple[str, ...]
    """Of config texts, changes as `axl_exp.config.delta` writes them; of mesh deltas, the lines
    that are gone (`- `) and new (`+ `)."""


@dataclasses.dataclass(frozen=True)
class Differences:
    """Everything that has to happen to the tree `before` to make it `after`."""

    changed: tuple[Difference, ...]
    """Those that touch most files first."""

    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed)

    @property
    def configs(self) -> list[str]:
        """The configs that a difference touches, sorted."""
        files = {file for difference in self.changed for file in difference.files}
        return sorted({file.split("/")[0] for file in (*files, *self.added, *self.removed)})

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {"schema": JSON_SCHEMA, **dataclasses.asdict(self)}


def compare_trees(before: Tree, after: Tree) -> Differences:
    """Return what differs, rows that several files share grouped by the files that share them."""
    files_of_row: dict[str, list[str]] = {}
    for file in sorted(before.keys() & after.keys()):
        if before[file] != after[file]:
            for row in _rows(file, before[file], after[file]):
                files_of_row.setdefault(row, []).append(file)
    rows_of_files: dict[tuple[str, ...], list[str]] = {}
    for row, files in files_of_row.items():
        rows_of_files.setdefault(tuple(files), []).append(row)
    changed = [Difference(files, tuple(rows)) for files, rows in rows_of_files.items()]
    return Differences(
        changed=tuple(sorted(changed, key=lambda d: (-len(d.files), d.files))),
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def render(
    differences: Differences, *, added_word: str = "added", removed_word: str = "removed"
) -> str:
    """Return the differences as plain lines, the most shared first.

    Args:
        differences: What to tell.
        added_word: What a file is called that only the tree `after` has.
        removed_word: What a file is called that only the tree `before` has.
    """
    lines = []
    for difference in differences.changed:
        lines.append(f"{_count(difference.files)}:")
        lines += [f"  {row}" for row in difference.rows]
    for word, files in ((added_word, differences.added), (removed_word, differences.removed)):
        lines += [f"{word}: {files_of}" for files_of in _by_config(files)]
    return "".join(f"{line}\n" for line in lines)


def _rows(file: str, before: str, after: str) -> list[str]:
    if file.endswith(CONFIG_FILE):
        try:
            changes = diff(parse_text(before, source=file), parse_text(after, source=file))
            return [change_text(change) for change in changes] or ["comments or layout"]
        except ConfigError:
            pass  # Somebody edited it into something else: lines are all that can be said.
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line.startswith(("- ", "+ "))] or ["line ends"]


def _count(files: tuple[str, ...]) -> str:
    """Return which files share a difference: all of a few, otherwise how many and the first."""
    if len(files) <= 3:
        return ", ".join(files)
    num_configs = len({file.split("/")[0] for file in files})
    return f"{len(files)} files of {num_configs} configs, such as {files[0]}"


def _by_config(files: tuple[str, ...]) -> list[str]:
    """Return one text per config: `fuji-1B-v3/config.txt`, or how many files with the first."""
    by_config: dict[str, list[str]] = {}
    for file in files:
        by_config.setdefault(file.split("/")[0], []).append(file)
    return [
        found[0] if len(found) == 1 else f"{config}/ ({len(found)} files)"
        for config, found in by_config.items()
    ]
