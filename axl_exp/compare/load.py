"""One side of a comparison: a run, as its directory tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axl_exp.config.parse import FlatConfig, parse_text
from axl_exp.errors import UserError
from axl_exp.run.files import RunFileError, read_json
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics_reader import Metrics, read_metrics


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
    """

    run_dir: RunDir
    config: FlatConfig | None
    env: dict[str, Any]
    summary: dict[str, Any]
    metrics: Metrics

    @property
    def config_name(self) -> str:
        """The name of its config, `?` where it is not known."""
        return str(self.env.get("config") or self.metrics.header.get("config") or "?")

    @property
    def status(self) -> str:
        """finished, stopped or failed, as the run said; else unfinished."""
        return str(self.summary.get("status", "unfinished"))


def load_run(run_dir: RunDir) -> Run:
    """Read every file of `run_dir` that a comparison needs; files that are missing are empty.

    Raises:
        NotARunError: The directory is missing or holds neither config.txt nor metrics.jsonl.
        MetricsError, ParseError, RunFileError: A file is there and cannot be read.
    """
    if not run_dir.path.is_dir():
        what = "is a file, not a run directory" if run_dir.path.exists() else "does not exist"
        raise NotARunError(f"{run_dir.path} {what}.{_parent_hint(run_dir)}")
    if not run_dir.is_run():
        raise NotARunError(
            f"{run_dir.path} is not a run directory: it holds neither {run_dir.config.name} "
            f"nor {run_dir.metrics.name}.{_child_hint(run_dir)}"
        )
    metrics = (
        read_metrics(run_dir.metrics) if run_dir.metrics.exists() else Metrics(run_dir.metrics)
    )
    return Run(
        run_dir=run_dir,
        config=_read_config(run_dir),
        env=read_json(run_dir.env),
        summary=read_json(run_dir.summary),
        metrics=metrics,
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


def _parent_hint(run_dir: RunDir) -> str:
    parent = RunDir(run_dir.path.parent)
    return f" Its run directory is {parent.path}." if parent.is_run() else ""


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
