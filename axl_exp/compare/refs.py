"""Runs that a git branch or commit means: by the run store, and by what git resolves."""

from __future__ import annotations

import subprocess
from pathlib import Path

from axl_exp.cli import did_you_mean
from axl_exp.errors import UserError
from axl_exp.report.text import shorten
from axl_exp.run.layout import RunDir
from axl_exp.run.store import FINISHED, RunStore, StoredRun


class NoSuchRunError(UserError):
    """A name that leads to no run, or to several configs of which none was chosen."""


def runs_of(name: str, store: RunStore) -> list[StoredRun]:
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
