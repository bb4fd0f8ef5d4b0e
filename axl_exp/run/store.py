"""Finds runs again by config, branch and commit: an index of run directories in sqlite.

Rows are pointers. What a run is stands in its directory (env.json, summary.json); the index can be
deleted at any time and rebuilt from the directories.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from axl_exp.errors import UserError
from axl_exp.run.files import RunFileError, read_json
from axl_exp.run.home import home
from axl_exp.run.layout import RunDir

FINISHED = "finished"
UNFINISHED = "unfinished"  # No summary.json: it runs, or was killed.

_LOG = logging.getLogger(__name__)
_LOCK_TIMEOUT_SECONDS = 10.0
_RUNS_ROOT = Path("runs")
# The version is in the table's name: a newer axl_exp with other columns takes another table.
_CREATE = """CREATE TABLE IF NOT EXISTS runs_1 (
    run_dir TEXT PRIMARY KEY, config TEXT NOT NULL, branch TEXT, "commit" TEXT,
    started_unix_seconds REAL NOT NULL, status TEXT NOT NULL)"""

# Figures stay when the run directory goes: they are what noise floors are made of.
_CREATE_FIGURES = """CREATE TABLE IF NOT EXISTS figures_1 (
    run_dir TEXT NOT NULL, config TEXT NOT NULL, hardware TEXT NOT NULL, code TEXT NOT NULL,
    seed TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (run_dir, name))"""


class RunStoreError(UserError):
    """The run store cannot be opened."""


@dataclass(frozen=True)
class StoredRun:
    """One run as the store knows it."""

    run_dir: str  # Absolute.
    config: str
    branch: str | None
    commit: str | None
    started_unix_seconds: float
    status: str  # finished | stopped | failed | unfinished


@dataclass(frozen=True)
class RunFigure:
    """One figure of one finished run.

    Attributes:
        hardware: What it ran on, in words.
        code: A digest of all that makes two runs repeats of each other, but the seed.
        seed: As text.
    """

    run_dir: str
    config: str
    hardware: str
    code: str
    seed: str
    name: str
    value: float


class RunStore:
    """The index at `$AXL_EXP_HOME/runs.sqlite3`, shared by every process of the user.

    A corrupt file is set aside with a warning and rebuilt from `./runs`.
    """

    def __init__(self, path: Path | None = None):
        self.path = path or home() / "runs.sqlite3"

    def record(self, run_dir: RunDir) -> None:
        """Enter or refresh a run from its env.json and summary.json.

        Never raises for a store or file that fails: an index is not worth a training run. It warns.
        """
        try:
            run = _read_run(run_dir)
            if run is None:
                _LOG.warning("%s has no env.json: not entered in the run store", run_dir.path)
                return
            with self._connect() as connection:
                _enter(connection, run)
        except (UserError, OSError, sqlite3.Error) as error:
            _LOG.warning("the run store did not take %s: %s", run_dir.path, error)

    def adopt(self, root: Path) -> int:
        """Enter every run directory directly under `root`; return how many there are."""
        with self._connect() as connection:
            return _adopt(connection, root)

    def find(
        self, *, config: str | None = None, branch: str | None = None, commit: str | None = None
    ) -> list[StoredRun]:
        """Return the runs that match all that is given, newest start first.

        `commit` may be a prefix of at least four hexadecimal digits. Directories that are gone are
        left out, and `status` is what the directory says now.

        Raises:
            RunStoreError: The store cannot be opened.
        """
        if commit is not None and not re.fullmatch(r"[0-9a-fA-F]{4,64}", commit):
            return []
        with self._connect() as connection:
            rows = connection.execute(
                'SELECT run_dir, config, branch, "commit", started_unix_seconds, status '
                "FROM runs_1 WHERE (:config IS NULL OR config = :config) "
                "AND (:branch IS NULL OR branch = :branch) "
                "AND (:commit IS NULL OR \"commit\" LIKE :commit || '%') "
                "ORDER BY started_unix_seconds DESC, run_dir",
                {"config": config, "branch": branch, "commit": commit},
            ).fetchall()
        runs = (StoredRun(*row) for row in rows)
        return [
            replace(run, status=_status(RunDir(Path(run.run_dir))))
            for run in runs
            if os.path.isfile(RunDir(Path(run.run_dir)).env)
        ]

    def keep_figures(self, figures: Iterable[RunFigure]) -> None:
        """Keep the figures of finished runs; those of the same run and name are replaced.

        Raises:
            RunStoreError: The store cannot be opened or written.
        """
        with self._connect() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO figures_1 VALUES (?, ?, ?, ?, ?, ?, ?)",
                [astuple(figure) for figure in figures],
            )

    def figures(self, *, config: str | None = None, hardware: str | None = None) -> list[RunFigure]:
        """Return every figure kept of a config and a hardware; of all where they are None.

        Raises:
            RunStoreError: The store cannot be opened.
        """
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT * FROM figures_1 WHERE (:config IS NULL OR config = :config) "
                "AND (:hardware IS NULL OR hardware = :hardware) ORDER BY name, code, run_dir",
                {"config": config, "hardware": hardware},
            ).fetchall()
        return [RunFigure(*row) for row in rows]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """Open the index for one transaction; set a corrupt file aside and begin a new one."""
        try:
            connection = self._open()
        except sqlite3.OperationalError as error:  # Locked, unreadable, no space: not corrupt.
            raise RunStoreError(
                f"cannot open the run store {self.path}: {error}. "
                "Move it with the environment variable AXL_EXP_HOME."
            ) from error
        except sqlite3.DatabaseError as error:
            connection = self._rebuild(error)
        with closing(connection), connection:
            yield connection

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(error.strerror) from error
        connection = sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT_SECONDS)
        try:
            with connection:
                connection.execute(_CREATE)
                connection.execute(_CREATE_FIGURES)
                (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if state != "ok":
                    raise sqlite3.DatabaseError(state)
        except BaseException:
            connection.close()
            raise
        return connection

    def _rebuild(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{os.getpid()}")
        with suppress(FileNotFoundError):  # Another process has set it aside already.
            os.replace(self.path, aside)
        connection = self._open()
        with connection:
            num_runs = _adopt(connection, _RUNS_ROOT)
        _LOG.warning(
            "the run store %s is corrupt (%s): set aside as %s, rebuilt from %s (%d runs)",
            *(self.path, error, aside.name, _RUNS_ROOT.absolute(), num_runs),
        )
        return connection


def _adopt(connection: sqlite3.Connection, root: Path) -> int:
    num_runs = 0
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        try:
            run = _read_run(RunDir(path))
        except RunFileError as error:
            _LOG.warning("%s", error)
            continue
        if run is not None:
            _enter(connection, run)
            num_runs += 1
    return num_runs


def _enter(connection: sqlite3.Connection, run: StoredRun) -> None:
    connection.execute("INSERT OR REPLACE INTO runs_1 VALUES (?, ?, ?, ?, ?, ?)", astuple(run))


def _read_run(run_dir: RunDir) -> StoredRun | None:
    """Return what the directory says of itself; None where it has no env.json."""
    env = read_json(run_dir.env)
    if not env:
        return None
    try:
        git: dict[str, Any] = env.get("git") or {}
        first_launch = (env.get("launches") or [env])[0]
        return StoredRun(
            run_dir=str(run_dir.path.resolve()),
            config=str(env["config"]),
            branch=git.get("branch"),
            commit=git.get("commit"),
            started_unix_seconds=float(first_launch["started_unix_seconds"]),
            status=_status(run_dir),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunFileError(f"{run_dir.env} is not what a run writes: {error!r}") from error


def _status(run_dir: RunDir) -> str:
    try:
        return str(read_json(run_dir.summary).get("status", UNFINISHED))
    except RunFileError:
        return UNFINISHED
