"""The two sides of `golden diff`: git refs, or single configs from wherever they stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from axl_exp.config.parse import parse_text
from axl_exp.golden.axlearn_text import is_axlearn_text, read_axlearn_text
from axl_exp.golden.folder import merge_base, read_folder, read_git_ref
from axl_exp.golden.golden import Golden, GoldenError, Goldens
from axl_exp.golden.layout import CONFIG_FILE, PARAMS_FILE, read_goldens


def read_sides(names: Sequence[str], *, folder: Path) -> tuple[Goldens, Goldens, str]:
    """Return the goldens before, those after, and what they are called.

    Args:
        names: None, one or two. A config text (ours or AXLearn's), a run directory and the name of
            a config in `folder` are single configs; anything else is a git ref. Without a second,
            the golden files here stand for it.
        folder: The golden folder.

    Raises:
        GoldenError: A single config is compared with a git ref, or a side cannot be read.
    """
    singles = [_read_single(name, folder) for name in names]
    if any(singles):
        if len(names) == 1:
            raise GoldenError(f"{names[0]} needs another file, run directory or config beside it.")
        for name, single in zip(names, singles, strict=True):
            if single is None:
                raise GoldenError(
                    f"{name} is no file, run directory or config in {folder}, and the other side "
                    "is: compare two git refs, or two of those."
                )
        before, after = (single for single in singles if single is not None)
        # Where one side is a config text alone, hardware is no part of the question.
        if not (before.meshes and after.meshes):
            before, after = (dataclasses.replace(side, meshes={}) for side in (before, after))
        label = names[1]
        return {label: before}, {label: after}, f"{names[0]} and {names[1]}"
    ref = names[0] if names else merge_base()
    before = _read_ref(ref, folder)
    if len(names) == 2:
        return before, _read_ref(names[1], folder), f"{ref} and {names[1]}"
    here = _without_errors(read_goldens(read_folder(folder)))
    return before, here, f"{ref[:12]} and the files in {folder}"


def _read_single(name: str, folder: Path) -> Golden | None:
    path = Path(name)
    if not path.exists():
        if not (folder / name / CONFIG_FILE).is_file():
            return None
        path = folder / name / CONFIG_FILE
    file = path / CONFIG_FILE if path.is_dir() else path
    if not file.is_file():
        raise GoldenError(f"{path} has no {CONFIG_FILE}: it is no run directory.")
    if file.name == CONFIG_FILE and (file.parent / PARAMS_FILE).is_file():
        goldens, errors = read_goldens(read_folder(file.parent.parent))
        if file.parent.name not in goldens:
            raise GoldenError(next(iter(errors.values())))
        return goldens[file.parent.name]
    text = file.read_bytes().decode("utf-8", "replace")
    read = read_axlearn_text if is_axlearn_text(text) else _read_flat_text
    return Golden(read(text, source=str(file)), {}, {}, {})


def _read_flat_text(text: str, *, source: str) -> dict[str, str]:
    return dict(parse_text(text, source=source).texts)


def _read_ref(ref: str, folder: Path) -> Goldens:
    return _without_errors(read_goldens(read_git_ref(ref, folder=folder)))


def _without_errors(read: tuple[Goldens, dict[str, str]]) -> Goldens:
    goldens, errors = read
    if errors:
        raise GoldenError(next(iter(errors.values())))
    return goldens
