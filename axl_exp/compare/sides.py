"""What a user may call a run: its directory, or a git branch or commit with runs in the store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from axl_exp.cli import did_you_mean
from axl_exp.compare.logs.maxview import page_names
from axl_exp.errors import UserError
from axl_exp.report.text import shorten
from axl_exp.run.files import RunFileError, read_json
from axl_exp.run.layout import RunDir
from axl_exp.run.store import FINISHED, RunStore, StoredRun


class NoSuchRunError(UserError):
    """A name that leads to no run, or to several configs of which none was chosen."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what the user wrote and the run that it means.

    Attributes:
        name: What the user wrote.
        run_dir: The run.
        by_ref: Whether the name is a branch or commit: then the commit is what is being compared.
        note: How the run was chosen; empty where the user named it.
        part: Which log of a page that holds several.
    """

    name: str
    run_dir: RunDir
    by_ref: bool = False
    note: str = ""
    part: str = ""


def choose_sides(names: Sequence[str], *, store: RunStore) -> list[Side]:
    """Return the run that each of `names` means.

    A name is a path that exists, `PAGE#NAME` for one log of a page, or `REF` or `REF:config`,
    where REF is a branch, a commit or anything that git resolves to one. A page of two logs, given
    alone or twice, is both sides. A REF means its newest finished run, of the config that all
    sides have in common.

    Raises:
        NoSuchRunError: A name leads nowhere, or the config must be chosen; the message says how.
    """
    if len(set(names)) == 1 and _is_path(names[0]) and len(logs := page_names(Path(names[0]))) == 2:
        path = RunDir(Path(names[0]))
        return [Side(f"{names[0]}#{log}", path, part=log) for log in logs]
    candidates = [None if _is_path(name) else _runs_of(name, store) for name in names]
    config = _common_config(names, candidates)
    sides = []
    for name, runs in zip(names, candidates, strict=True):
        if runs is None:
            path, part = _split_part(name)
            sides.append(Side(name, RunDir(Path(path)), part=part))
            continue
        run = next(run for run in runs if run.config == config)
        commit = (run.commit or "unknown")[:7]
        note = f"{name} is {Path(run.run_dir).name}: its newest finished run of {run.config}, "
        note += f"at commit {commit}"
        sides.append(Side(name, RunDir(Path(run.run_dir)), by_ref=True, note=note))
    return sides


def _is_path(name: str) -> bool:
    return _exists(name) or bool(_split_part(name)[1])


def _exists(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:  # A zero byte.
        return False


def _split_part(name: str) -> tuple[str, str]:
    """Return path and part of `PAGE#PART`; the whole name and no part where it is none."""
    path, _, part = name.rpartition("#")
    return (path, part) if not _exists(name) and os.path.isfile(path) else (name, "")


def _runs_of(name: str, store: RunStore) -> list[StoredRun]:
    """Return the finished runs of `REF` or `REF:config`, newest first; at least one."""
    ref, _, config = name.partition(":")
    found = _find(ref, config or None, store)
    if not found:
        store.adopt(Path("runs"))  # Runs that were copied here, or made with another home.
        found = _find(ref, config or None, store)
    finished = [run for run in found if run.status == FINISHED]
    if finished:
        return finished
    if found:
        raise NoSuchRunError(
            f"{name} has {len(found)} runs and none is finished. To compare one all the same, give "
            f"its directory: {found[0].run_dir}"
        )
    every = store.find()
    known = {str(path) for path in Path("runs").glob("*") if RunDir(path).is_run()}
    known |= {run.branch for run in every if run.branch}
    known |= {run.commit[:7] for run in every if run.commit}
    raise NoSuchRunError(
        f"{shorten(name, width=200)} is neither a run directory nor a branch or commit with runs "
        "in the store." + (did_you_mean(name, sorted(known)) or _known_branches(every))
    )


def _known_branches(runs: list[StoredRun]) -> str:
    branches = sorted({run.branch for run in runs if run.branch})
    if not branches:
        return " The store has no runs yet: train with `python -m axl_exp.launch --config=...`."
    return f" Branches with runs: {', '.join(branches)}."


def _find(ref: str, config: str | None, store: RunStore) -> list[StoredRun]:
    return (
        store.find(branch=ref, config=config)
        or store.find(commit=ref, config=config)
        or (store.find(commit=commit, config=config) if (commit := _resolve(ref)) else [])
    )


def _resolve(ref: str) -> str | None:
    """Return the commit that git here means by `ref`, None where it means nothing."""
    if ref.startswith("-"):
        return None
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _common_config(
    names: Sequence[str], candidates: Sequence[list[StoredRun] | None]
) -> str | None:
    """Return the one config that every side has runs of; None where no side is a ref."""
    choices: dict[str, set[str]] = {}
    for name, runs in zip(names, candidates, strict=True):
        if runs is not None:
            choices[name] = {run.config for run in runs}
        elif (config := _config_of(Path(name))) is not None:
            choices[name] = {config}
    refs = [name for name, runs in zip(names, candidates, strict=True) if runs is not None]
    if not refs:
        return None
    common = set.intersection(*choices.values())
    if len(common) == 1:
        return common.pop()
    told = "; ".join(f"{name} has {', '.join(sorted(found))}" for name, found in choices.items())
    if not common:
        raise NoSuchRunError(f"the sides have no config in common: {told}. Give run directories.")
    raise NoSuchRunError(
        f"the sides have several configs in common: {', '.join(sorted(common))}. "
        f"Choose one: {refs[0].partition(':')[0]}:{min(common)}"
    )


def _config_of(path: Path) -> str | None:
    if not path.is_dir():
        return None
    try:
        config = read_json(RunDir(path).env).get("config")
    except RunFileError:
        return None
    return None if config is None else str(config)
