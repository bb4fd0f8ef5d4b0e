"""What a user may call a side: runs by their paths, or a git branch or commit with runs stored."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from axl_exp.compare.load import Run, load_run
from axl_exp.compare.logs.maxview import page_names
from axl_exp.compare.pieces import join_pieces, log_files, merge_pieces
from axl_exp.compare.refs import NoSuchRunError, runs_of
from axl_exp.compare.stored_floors import code_of, hardware_of
from axl_exp.run.files import RunFileError, read_json
from axl_exp.run.layout import RunDir
from axl_exp.run.store import RunStore, StoredRun

_MAX_REPEATS = 20  # Of a branch: the newest ones.
_PATTERN = re.compile(r"[*?\[]")
_NAMED = re.compile(r"(?P<name>[\w.-]{1,40})=(?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """The files of one run.

    Attributes:
        paths: A run directory, or the logs of one run: of its hosts, or of its restarts.
        part: Which log of a page that holds several.
    """

    paths: tuple[Path, ...]
    part: str = ""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what the user wrote and the runs that it means.

    Attributes:
        name: What the user wrote.
        sources: One per run; several are repeats of one code.
        by_ref: Whether the name is a branch or commit: then the commit is what is being compared.
        note: How the runs were chosen; empty where the user named them.
    """

    name: str
    sources: tuple[Source, ...]
    by_ref: bool = False
    note: str = ""


@dataclass(frozen=True)
class LoadedSide:
    """A side and its runs, at least one; the first stands for them where one is shown.

    Attributes:
        notes: What was merged or left out, in words.
    """

    side: Side
    runs: list[Run]
    notes: list[str] = field(default_factory=list)


def choose_sides(names: Sequence[str], *, store: RunStore) -> list[Side]:
    """Return the runs that each of `names` means, one side per name.

    A name is `RUN`, `RUN,RUN,...` (repeats) or `NAME=RUN,...`; the same NAME twice adds to its
    side. A RUN is a path, a pattern (`runs/fuji-*`), `LOG+LOG` (logs of one run), `PAGE#NAME`
    for one log of a page, or `REF` or `REF:config`, where REF is a branch, a commit or anything
    that git resolves to one. A page of two logs, given alone or twice, is both sides. A REF means
    its newest finished run, of the config that all sides have in common, and that run's repeats.

    Raises:
        NoSuchRunError: A name leads nowhere, or the config must be chosen; the message says how.
    """
    if len(set(names)) == 1 and _is_path(names[0]) and len(logs := page_names(Path(names[0]))) == 2:
        path = Path(names[0])
        return [Side(f"{names[0]}#{log}", (Source((path,), part=log),)) for log in logs]
    told = _by_name(names)
    found = {name: _sources(words) for name, words in told.items()}
    candidates = {
        name: None if sources is not None else runs_of(told[name][0], store)
        for name, sources in found.items()
    }
    config = _common_config(told, candidates)
    sides = []
    for name, sources in found.items():
        runs = candidates[name]
        if runs is None:
            sides.append(Side(name, tuple(sources or ())))
            continue
        run = next(run for run in runs if run.config == config)
        repeats = _same_commit(run, runs)
        note = f"{name} is {Path(run.run_dir).name}: its newest finished run of {run.config}, "
        note += f"at commit {(run.commit or 'unknown')[:7]}"
        sources = tuple(Source((Path(run.run_dir),)) for run in repeats)
        sides.append(Side(name, sources, by_ref=True, note=note))
    return sides


def load_side(side: Side) -> LoadedSide:
    """Read every run of a side; of a branch, leave out those that are no repeats of its newest.

    Raises:
        UserError: A path is no run, or one of its files cannot be read.
    """
    runs, notes = [], []
    for source in side.sources:
        if len(source.paths) == 1:
            runs.append(load_run(RunDir(source.paths[0]), part=source.part))
        else:
            runs.append(merge_pieces([load_run(RunDir(path)) for path in source.paths]))
    if side.by_ref:
        first = (code_of(runs[0]), hardware_of(runs[0]))
        is_known = first[0] is not None
        same = [r for r in runs[1:] if is_known and (code_of(r), hardware_of(r)) == first]
        runs = [runs[0], *same]
        if same:
            notes.append(f"{side.name}: {len(runs)} finished runs of that code are its repeats")
    elif len(runs) > 1:
        runs, merged = join_pieces(runs)
        notes.extend(f"{side.name}: {note}" for note in merged)
    return LoadedSide(side, runs, notes)


def _by_name(names: Sequence[str]) -> dict[str, list[str]]:
    """Return side -> the words for its runs; without a NAME a side is called as it is written."""
    told: dict[str, list[str]] = {}
    for name in names:
        match = None if _is_path(name) else _NAMED.fullmatch(name)
        side, words = (match["name"], match["rest"]) if match else (name, name)
        split = [words] if _is_path(words) else [word for word in words.split(",") if word]
        if match:
            told.setdefault(side, []).extend(split)
        else:  # The same path twice is two sides, which are told that they are the same.
            again = "" if side not in told else f" ({len(told) + 1})"
            told[side + again] = split or [words]
    return told


def _sources(words: Sequence[str]) -> list[Source] | None:
    """Return the runs that paths mean; None where the one word is no path but may be a ref.

    Raises:
        NoSuchRunError: One of several words is no path.
    """
    found: list[Source] = []
    for word in words:
        pieces = [word] if _is_path(word) else word.split("+")
        if _is_path(word):
            found.append(_source(word))
        elif len(pieces) > 1 and all(_exists(piece) for piece in pieces):
            found.append(Source(tuple(Path(piece) for piece in pieces)))
        elif _PATTERN.search(word) and (matched := sorted(glob.glob(word))):
            found.extend(_source(path) for path in matched)
        elif len(words) == 1 and not any(map(_exists, pieces)):
            return None
        else:
            missing = next(piece for piece in pieces if not _exists(piece))
            raise NoSuchRunError(
                f"{missing} does not exist. Repeats are paths: RUN,RUN; logs of one run LOG+LOG."
            )
    return found


def _source(word: str) -> Source:
    path, part = _split_part(word)
    logs = log_files(Path(path))
    return Source(logs or (Path(path),), part)


def _same_commit(run: StoredRun, runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Return `run`, and the other runs of its commit and config, newest first."""
    same = [
        other
        for other in runs
        if other is not run
        and other.commit is not None
        and (other.commit, other.config) == (run.commit, run.config)
    ]
    return [run, *same[: _MAX_REPEATS - 1]]


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


def _common_config(
    told: Mapping[str, Sequence[str]], candidates: Mapping[str, list[StoredRun] | None]
) -> str | None:
    """Return the one config that every side has runs of; None where no side is a ref."""
    choices: dict[str, set[str]] = {}
    for name, runs in candidates.items():
        if runs is not None:
            choices[name] = {run.config for run in runs}
        elif (config := _config_of(Path(told[name][0]))) is not None:
            choices[name] = {config}
    refs = [name for name, runs in candidates.items() if runs is not None]
    if not refs:
        return None
    common = set.intersection(*choices.values())
    if len(common) == 1:
        return common.pop()
    has = "; ".join(f"{name} has {', '.join(sorted(found))}" for name, found in choices.items())
    if not common:
        raise NoSuchRunError(f"the sides have no config in common: {has}. Give run directories.")
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
