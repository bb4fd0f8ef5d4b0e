"""The dry runs of a commit: by its own code, in a worktree and a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from axl_exp.cli import cleaned_up_if_terminated
from axl_exp.errors import UserError
from axl_exp.run.checkout import Checkout, Ref, check_out, remove_checkout
from axl_exp.run.home import home

_ENDED = (0, 1)  # 1 says that some row does not fit.


class NoDryRunError(UserError):
    """A commit that cannot be dry run."""


def rows_of_ref(
    ref: Ref, *, repository: Path, flags: Sequence[str], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return what `dryrun --all --json` says at a commit.

    Args:
        ref: The commit.
        repository: Where it is from. Its working tree stays as it is.
        flags: Further flags of the sweep.
        say: Told what is done.

    Raises:
        UserError: The commit cannot be checked out, or has no such dry run.
    """
    folder = home() / "checkouts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: somebody else may have the same commit checked out, and remove it.
        temporary = tempfile.TemporaryDirectory(prefix="dryrun-", dir=folder)
    except OSError as error:
        raise NoDryRunError(
            f"cannot write {folder}: {error.strerror}; give AXL_EXP_HOME another folder."
        ) from error
    with cleaned_up_if_terminated(), temporary as own:
        checkout = check_out(ref, repository=repository, folder=Path(own), say=say)
        try:
            note = f" ({ref.note})" if ref.note else ""
            say(f"{ref.name} at {ref.commit[:12]}{note}: sweeping")
            return _sweep(checkout, repository, flags)
        finally:
            remove_checkout(checkout, repository=repository)


def _sweep(checkout: Checkout, repository: Path, flags: Sequence[str]) -> list[dict[str, Any]]:
    name = f"{checkout.ref.name} ({checkout.ref.commit[:12]})"
    if not (checkout.path / "axl_exp" / "dryrun" / "__main__.py").is_file():
        raise NoDryRunError(f"{name} has no axl_exp.dryrun: name a later commit.")
    # A compiler may be found by the caller's path; what lies in the repository is the commit's.
    callers = map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    others = (path.resolve() for path in callers)
    paths = [checkout.path, *(p for p in others if not p.is_relative_to(repository.resolve()))]
    done = subprocess.run(
        [checkout.python, "-m", "axl_exp.dryrun", "--all", "--json", *flags],
        cwd=checkout.path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdout=subprocess.PIPE,
        # A terminal sees how far it is, and what it says of a failure.
        stderr=None if sys.stderr.isatty() else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in _ENDED:
        said = (done.stderr or "").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NoDryRunError(f"{name}: its sweep fails: {said[0].removeprefix('error: ')}")
    try:
        rows = json.loads(done.stdout)
        return [row for row in rows if row["config"] and row["selector"]]
    except (ValueError, TypeError, KeyError) as error:
        raise NoDryRunError(f"{name}: its sweep prints no JSON of rows ({error!r}).") from error
