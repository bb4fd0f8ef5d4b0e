"""Golden trees, path of a golden file -> its text: read from a folder or a git ref, and written."""

from __future__ import annotations

import fnmatch
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from axl_exp.golden.golden import GoldenError
from axl_exp.golden.layout import Tree
from axl_exp.registry import list_configs


def selected_configs(globs: Sequence[str], *, module: str | None, folder: Path) -> list[str]:
    """Return the names of the configs that any of `globs` matches; all of them without globs.

    With a module, only its own configs: the built-in ones have their goldens in this repository.

    Raises:
        GoldenError: A glob matches no config, nor a folder of a config that is gone.
    """
    names = list_configs(module=module, builtin=module is None)
    orphans = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for glob in globs:
        if not fnmatch.filter({*names, *orphans}, glob):
            raise GoldenError(f"No config matches {glob!r}. There are: {', '.join(names)}.")
    return [name for name in names if _is_selected(name, globs)]


def read_folder(folder: Path) -> Tree:
    """Return the tree in `folder`, whole; empty where there is none."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8", "replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def select(tree: Tree, globs: Sequence[str]) -> Tree:
    """Return the files of the configs that any of `globs` matches; all of them without globs."""
    return {file: text for file, text in tree.items() if _is_selected(file.split("/")[0], globs)}


def read_git_ref(ref: str, *, folder: Path) -> Tree:
    """Return the tree that `folder` holds in the commit `ref`; empty if it holds none.

    Raises:
        GoldenError: `folder` is in no git repository, or `ref` is no commit of it.
    """
    inside = folder if folder.is_dir() else Path()
    prefix = _git(["rev-parse", "--show-prefix"], cwd=inside).strip()
    if not folder.is_dir():
        prefix += f"{folder.as_posix()}/"
    commit = commit_of(ref, cwd=inside)
    listed = _git(["ls-tree", "-r", "-z", "--full-tree", commit, "--", prefix], cwd=inside)
    entries = [line.split("\t", 1) for line in listed.split("\0") if line]
    blobs = _read_blobs([meta.split()[2] for meta, _ in entries], cwd=inside)
    paths = [path.removeprefix(prefix) for _, path in entries]
    return dict(zip(paths, blobs, strict=True))


def commit_of(ref: str, *, cwd: Path = Path()) -> str:
    """Return the hash of the commit `ref`."""
    return _git(["rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}"], cwd=cwd).strip()


def merge_base(*, cwd: Path = Path()) -> str:
    """Return the commit at which this branch left `main`; HEAD where there is no such branch."""
    try:
        return _git(["merge-base", "HEAD", "main"], cwd=cwd).strip()
    except GoldenError:
        return commit_of("HEAD", cwd=cwd)


def write_tree(folder: Path, *, expected: Tree, actual: Tree) -> None:
    """Make the files `actual` in `folder` those of `expected`: write what differs, drop orphans."""
    for path, text in expected.items():
        if actual.get(path) != text:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    for path in actual.keys() - expected.keys():
        (folder / path).unlink()
        for parent in list((folder / path).parents)[: len(Path(path).parts) - 1]:
            if not any(parent.iterdir()):
                parent.rmdir()


def _is_selected(config: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatch(config, glob) for glob in globs)


def _git(arguments: Sequence[str], *, cwd: Path, stdin: bytes = b"") -> str:
    return _git_bytes(arguments, cwd=cwd, stdin=stdin).decode("utf-8", "replace")


def _git_bytes(arguments: Sequence[str], *, cwd: Path, stdin: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, input=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise GoldenError("git is not installed, so no ref can be read.") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GoldenError(f"git {' '.join(arguments)}: {said[-1] if said else 'failed'}")
    return done.stdout


def _read_blobs(hashes: Sequence[str], *, cwd: Path) -> Iterator[str]:
    """Yield the text of each blob, read by one git process."""
    out = _git_bytes(["cat-file", "--batch"], cwd=cwd, stdin="\n".join([*hashes, ""]).encode())
    position = 0
    for _ in hashes:
        end_of_line = out.index(b"\n", position)
        size = int(out[position:end_of_line].split()[2])
        position = end_of_line + 1
        yield out[position : position + size].decode("utf-8", "replace")
        position += size + 1
