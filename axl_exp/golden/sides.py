"""The two sides of `golden diff`: git refs, files, or run directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from axl_exp.golden.trees import (
    CONFIG_FILE,
    GoldenError,
    Tree,
    merge_base,
    read_folder,
    read_git_ref,
)


def read_sides(names: Sequence[str], *, folder: Path) -> tuple[Tree, Tree, str]:
    """Return the tree before, the tree after, and what they are called.

    Args:
        names: None, one or two. A path that exists is a config text or a run directory; anything
            else is a git ref. Without a second, the golden files here stand for it.
        folder: The golden folder.

    Raises:
        GoldenError: A file is compared with a git ref, or a side cannot be read.
    """
    paths = [Path(name) for name in names]
    if paths and all(path.exists() for path in paths):
        if len(paths) == 1:
            raise GoldenError(f"{names[0]} needs another file or run directory to compare with.")
        before, after = ({CONFIG_FILE: _read_config_text(path)} for path in paths)
        return before, after, f"{names[0]} and {names[1]}"
    for name, path in zip(names, paths, strict=True):
        if path.exists():
            raise GoldenError(
                f"{name} is a file and the other side is not: compare two git refs, or two files "
                "or run directories."
            )
    ref = names[0] if names else merge_base()
    before = read_git_ref(ref, folder=folder)
    if len(names) == 2:
        return before, read_git_ref(names[1], folder=folder), f"{ref} and {names[1]}"
    return before, read_folder(folder), f"{ref[:12]} and the files in {folder}"


def _read_config_text(path: Path) -> str:
    file = path / CONFIG_FILE if path.is_dir() else path
    if not file.is_file():
        raise GoldenError(f"{path} has no {CONFIG_FILE}: it is no run directory.")
    return file.read_text(encoding="utf-8")
