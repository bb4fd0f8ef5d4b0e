"""Which of several paths are pieces of one run, and those pieces as one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from axl_exp.compare.load import Run, run_of_log
from axl_exp.compare.logs.merge import are_hosts, is_restart, merge_logs
from axl_exp.compare.logs.tensorboard import event_files
from axl_exp.compare.merge_runs import add_metrics_file, goes_on, merge_runs
from axl_exp.run.layout import RunDir

_LOG_SUFFIXES = (".log", ".txt", ".out", ".err", ".jsonl")


def log_files(directory: Path) -> tuple[Path, ...]:
    """Return the logs in a directory that is no run, by name; empty where it holds none."""
    if not directory.is_dir() or RunDir(directory).is_run() or event_files(directory):
        return ()
    found = (path for path in sorted(directory.iterdir()) if path.suffix in _LOG_SUFFIXES)
    return tuple(path for path in found if path.is_file() and path.stat().st_size)


def merge_pieces(runs: Sequence[Run]) -> Run:
    """Return several pieces of one run as that run: logs, run directories, metrics files.

    Of logs and a metrics file that was written beside them, the file's numbers count.

    Raises:
        LogError, NotARunError: They are no pieces of one run.
    """
    logs = [run.log for run in runs if run.log is not None]
    others = [run for run in runs if run.log is None]
    log = run_of_log(merge_logs(logs) if len(logs) > 1 else logs[0]) if logs else None
    if not others:
        assert log is not None
        return log
    rest = merge_runs(others) if len(others) > 1 else others[0]
    return rest if log is None else add_metrics_file(log, rest)


def join_pieces(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Return the runs with pieces of one run merged where they themselves show it, and notes.

    Hosts tell other process indices, or print the same losses at the same time. A restart begins in
    the middle of the run before it. All else are repeats.
    """
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            if any(_is_piece(other, run) for other in group):
                group.append(run)
                break
        else:
            groups.append([run])
    merged = [group[0] if len(group) == 1 else merge_pieces(group) for group in groups]
    if len(groups) == 1:
        return merged, []
    return merged, [f"{len(groups)} runs are repeats of each other"]


def _is_piece(a: Run, b: Run) -> bool:
    """Return whether two runs are pieces of one run, in whichever order they were named."""
    if a.log is None and b.log is None:
        return goes_on(a, b) or goes_on(b, a)
    if a.log is None or b.log is None:
        return False
    return are_hosts(a.log, b.log) or is_restart(a.log, b.log) or is_restart(b.log, a.log)
