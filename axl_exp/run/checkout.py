"""A commit in a folder of its own: a git worktree that is never the user's, and its Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from axl_exp.errors import UserError

WORKING_TREE = "."
# What decides an environment: where these are the same, so is the interpreter.
_ENVIRONMENT_FILES = ("pyproject.toml", "constraints.txt")


class CheckoutError(UserError):
    """A ref that git does not know, or a worktree that cannot be made."""


@dataclass(frozen=True)
class Ref:
    """A commit as the user called it.

    Attributes:
        name: What the user wrote.
        commit: The full hash; of a dirty working tree, of a commit made of it that is on no branch.
        note: What a reader must know of it.
    """

    name: str
    commit: str
    note: str = ""


@dataclass(frozen=True)
class Checkout:
    """A commit, checked out.

    Attributes:
        path: Root of its files.
        python: The interpreter that runs it.
        note: Which environment that is.
    """

    ref: Ref
    path: Path
    python: str
    note: str


def repository_root(where: Path) -> Path:
    """Return the root of the git repository that `where` is in.

    Raises:
        CheckoutError: It is in none.
    """
    try:
        return Path(git(where, "rev-parse", "--show-toplevel"))
    except CheckoutError as error:
        raise CheckoutError(
            f"{where} is in no git repository: this compares commits. Run it inside one."
        ) from error


def resolve_ref(name: str, *, repository: Path) -> Ref:
    """Return the commit that `name` means; `.` is the working tree with what is not committed.

    Untracked files are in no commit, so they are left out and told.

    Raises:
        CheckoutError: git knows no such commit.
    """
    if name == WORKING_TREE:
        commit = _commit_of_working_tree(repository)
        untracked = git(repository, "ls-files", "--others", "--exclude-standard").splitlines()
        note = f"{len(untracked)} untracked files are left out" if untracked else ""
        return Ref("working tree", commit, note)
    try:
        return Ref(name, git(repository, "rev-parse", "--verify", f"{name}^{{commit}}"))
    except CheckoutError as error:
        raise CheckoutError(
            f"{name!r} is no commit, branch or tag of {repository}. See `git branch --all`."
        ) from error


def _commit_of_working_tree(repository: Path) -> str:
    """Return HEAD, or a commit on top of it with all changes of tracked files, on no branch.

    Made with the date of HEAD, so that the same content is the same commit whenever it is asked.
    """
    head, date = git(repository, "log", "-1", "--format=%H %cI").split()
    stash = git(repository, "stash", "create")
    if not stash:
        return head
    who = {"NAME": "axl_exp", "EMAIL": "axl_exp", "DATE": date}
    environment = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    arguments = ("commit-tree", f"{stash}^{{tree}}", "-p", head, "-m", "the working tree")
    return git(repository, *arguments, environment=environment)


def check_out(ref: Ref, *, repository: Path, folder: Path, say: Callable[[str], None]) -> Checkout:
    """Return `ref` checked out under `folder`; what is there and unchanged is used again.

    Raises:
        CheckoutError: git or the environment's setup fails; the message has its last words.
    """
    path = folder / ref.commit[:16]
    if not _is_clean(path, ref.commit):
        git(repository, "worktree", "prune")
        if path.exists():
            git(repository, "worktree", "remove", "--force", "--force", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        git(repository, "worktree", "add", "--detach", "--force", str(path), ref.commit)
    python, note = _environment(path, repository=repository, say=say)
    return Checkout(ref, path, python, note)


def remove_checkout(checkout: Checkout, *, repository: Path) -> None:
    """Remove the worktree; the commit stays."""
    git(repository, "worktree", "remove", "--force", "--force", str(checkout.path))


def _is_clean(path: Path, commit: str) -> bool:
    if not (path / ".git").exists():
        return False
    try:
        same = git(path, "rev-parse", "HEAD") == commit
        return same and not git(path, "status", "--porcelain")
    except CheckoutError:
        return False


def _environment(path: Path, *, repository: Path, say: Callable[[str], None]) -> tuple[str, str]:
    """Return the interpreter for a checkout and which one it is.

    Where the checkout wants what the repository here wants, it is the one that runs this. Else the
    checkout makes its own, by its own tools/run.py.
    """
    same = all(_content(path / file) == _content(repository / file) for file in _ENVIRONMENT_FILES)
    setup = path / "tools" / "run.py"
    if same or not setup.is_file():
        return sys.executable, "this environment" if same else (
            "this environment, though its pyproject.toml differs: it has no tools/run.py"
        )
    say(f"making the environment of {path.name}: its dependencies differ")
    made = subprocess.run(
        [sys.executable, str(setup), "setup"], cwd=path, capture_output=True, text=True, check=False
    )
    if made.returncode:
        last = (made.stderr or made.stdout).strip().splitlines()[-1:] or ["no output"]
        raise CheckoutError(f"{path}: tools/run.py setup fails: {last[0]}")
    return str(path / ".venv" / "bin" / "python"), "an environment of its own"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def git(where: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a git command prints, stripped.

    Raises:
        CheckoutError: It fails, or there is no git.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise CheckoutError(f"git cannot be run: {error.strerror}. Install it.") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise CheckoutError(f"git {arguments[0]} in {where}: {words[0]}")
    return done.stdout.strip()
