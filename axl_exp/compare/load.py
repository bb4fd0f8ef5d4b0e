"""One side of a comparison: a run, as its directory tells it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from axl_exp.compare.logs.as_run import config_of, env_of, metrics_of, summary_of
from axl_exp.compare.logs.jsonl import is_metrics_file, read_any_metrics
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.maxview import Page, read_logs
from axl_exp.compare.logs.tensorboard import event_files, is_event_file, read_events
from axl_exp.compare.logs.trainer_state import (
    is_trainer_state,
    read_trainer_state,
    trainer_state_in,
)
from axl_exp.config.parse import FlatConfig, parse_text
from axl_exp.errors import UserError
from axl_exp.run.files import RunFileError, read_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics_reader import Metrics
from axl_exp.run.params import read_params
from axl_exp.run.writers import read_writers


class NotARunError(UserError):
    """A path that is no run directory."""


@dataclass(frozen=True)
class Run:
    """All that a comparison knows of one run.

    Attributes:
        config: None where there is no config.txt.
        env: {} where there is no env.json.
        summary: {} where the run has not ended by itself.
        metrics: Empty where there is no metrics.jsonl.
        log: The log of another trainer that all of this was read from; None for a run of ours.
        page: The page that the log stood in; None where it stood alone.
        writers: Who set each leaf of the config; None where the run does not tell.
        parameters: path -> fact (shape, logical, physical) -> text; empty where none are told.
        notes: Of which pieces it was merged, in words.
        quanta: metric -> unit of the last digit that was printed; a metric that is not here was
            not rounded.
    """

    run_dir: RunDir
    config: FlatConfig | None
    env: dict[str, Any]
    summary: dict[str, Any]
    metrics: Metrics
    log: Log | None = None
    page: Page | None = None
    quanta: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    writers: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def config_name(self) -> str:
        """The name of its config, `?` where it is not known."""
        return str(self.env.get("config") or self.metrics.header.get("config") or "?")

    @property
    def status(self) -> str:
        """finished, stopped or failed, as the run said; else unfinished."""
        return str(self.summary.get("status", "unfinished"))


def named_runs(side: str, runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """Return every run beside its name: `A`, or `A1`, `A2` where it has repeats."""
    if len(runs) == 1:
        return [(side, runs[0])]
    return [(f"{side}{number}", run) for number, run in enumerate(runs, start=1)]


def load_run(run_dir: RunDir, *, part: str = "") -> Run:
    """Read every file of `run_dir` that a comparison needs; files that are missing are empty.

    A path that is a file is a metrics file of ours, or a log of another trainer.

    Args:
        run_dir: A run directory, or the path of a file.
        part: Which log of a page that holds several.

    Raises:
        LogError: A file that is no log which we can read.
        NotARunError: The directory is missing or holds neither config.txt nor metrics.jsonl.
        MetricsError, ParseError, RunFileError: A file is there and cannot be read.
    """
    if os.path.isfile(run_dir.path):
        return _load_file(run_dir, part=part)
    if not run_dir.path.is_dir():
        what = "is not a file or directory" if run_dir.path.exists() else "does not exist"
        what = "is a symbolic link that leads nowhere" if run_dir.path.is_symlink() else what
        raise NotARunError(f"{run_dir.path} {what}.")
    if not run_dir.is_run() and (events := event_files(run_dir.path)):
        return Run(run_dir, None, {}, {}, read_events(events, root=run_dir.path))
    if not run_dir.is_run() and (state := trainer_state_in(run_dir.path)):
        return run_of_log(read_trainer_state(state))
    if not run_dir.is_run():
        raise NotARunError(
            f"{run_dir.path} is not a run directory: it holds neither {run_dir.config.name} "
            f"nor {run_dir.metrics.name}.{_child_hint(run_dir)}"
        )
    metrics = (
        read_any_metrics(run_dir.metrics) if run_dir.metrics.exists() else Metrics(run_dir.metrics)
    )
    return Run(
        run_dir=run_dir,
        config=_read_config(run_dir),
        env=read_json(run_dir.env),
        summary=read_json(run_dir.summary),
        metrics=metrics,
        parameters=read_params(run_dir.params),
        writers=read_writers(run_dir),
    )


def _load_file(run_dir: RunDir, *, part: str) -> Run:
    parent = RunDir(run_dir.path.parent)
    if parent.is_run() and run_dir.path.name in (parent.metrics.name, parent.config.name):
        return load_run(parent)
    if is_event_file(run_dir.path):
        return Run(run_dir, None, {}, {}, read_events([run_dir.path], root=run_dir.path))
    if is_trainer_state(run_dir.path):
        return run_of_log(read_trainer_state(run_dir.path))
    if is_metrics_file(run_dir.path):
        return Run(run_dir, None, {}, {}, read_any_metrics(run_dir.path))
    log, page = read_logs(run_dir.path, part=part)
    return run_of_log(log, page)


def run_of_log(log: Log, page: Page | None = None) -> Run:
    """Return a log as a run."""
    metrics = metrics_of(log)
    return Run(
        run_dir=RunDir(log.path),
        config=config_of(log),
        env=env_of(log),
        summary=summary_of(log),
        metrics=metrics,
        log=log,
        page=page,
        quanta=log.rows.quanta | log.evals.quanta,
        parameters=log.parameters,
    )


def _read_config(run_dir: RunDir) -> FlatConfig | None:
    try:
        text = run_dir.config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFileError(f"cannot read {run_dir.config}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunFileError(f"{run_dir.config} is not UTF-8 text: {error.reason}") from error
    return parse_text(text, source=str(run_dir.config))


def _child_hint(run_dir: RunDir) -> str:
    """Name the newest run inside, for a user who gave the directory of all runs."""
    try:
        runs = [path for path in run_dir.path.iterdir() if RunDir(path).is_run()]
    except OSError as error:
        return f" It cannot be read: {error.strerror}."
    if not runs:
        return ""
    newest = max(runs, key=lambda path: path.stat().st_mtime)
    return f" It holds {len(runs)} of them; the newest is {newest}."
