"""Taking possession of a run directory: a new one, or one whose config is the same."""

import os

from axl_exp.config.delta import delta_text
from axl_exp.config.diff import Change, Moved, diff
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.config.parse import parse_text
from axl_exp.run.files import write_text
from axl_exp.run.layout import RunDir, RunDirError

_SHOWN = 3


def check_claim(run_dir: RunDir, *, config_text: str) -> tuple[Change, ...]:
    """Return what a run with this config would change in the config of `run_dir`; writes nothing.

    Raises:
        RunDirError: The directory cannot be written, holds something that is no run, or belongs to
            a run of another config (differences in I/O alone do not count).
    """
    _check_writable(run_dir)
    if not run_dir.config.is_file():
        others = sorted(p.name for p in run_dir.path.iterdir()) if run_dir.path.is_dir() else []
        if others:
            raise RunDirError(
                f"{run_dir.path} is no run directory and not empty (it holds {others[0]!r}). "
                "Choose another with --run_dir."
            )
        return ()
    before = parse_text(run_dir.config.read_text("utf-8"), source=str(run_dir.config))
    changes = tuple(diff(before, parse_text(config_text)))
    matter = [change for change in changes if not _is_io_only(change)]
    if matter:
        shown = "; ".join(delta_text(matter[:_SHOWN]).splitlines())
        more = f"; and {len(matter) - _SHOWN} more" if len(matter) > _SHOWN else ""
        raise RunDirError(
            f"{run_dir.path} belongs to a run of another config: {shown}{more}. "
            "Choose another --run_dir, or launch with the config that it began with."
        )
    return changes


def claim(run_dir: RunDir, *, config_text: str) -> tuple[Change, ...]:
    """Make `run_dir` the directory of a run with this config, and return what changed in it.

    A directory that has a run already is continued if the configs differ in I/O alone (how often
    something is saved or logged); config.txt then tells of the newest launch.

    Raises:
        RunDirError: As `check_claim`.
    """
    changes = check_claim(run_dir, config_text=config_text)
    run_dir.make()
    write_text(run_dir.config, config_text)
    return changes


def _check_writable(run_dir: RunDir) -> None:
    nearest = next(p for p in (run_dir.path, *run_dir.path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise RunDirError(
            f"{run_dir.path} cannot be a run directory: {nearest} is a file. "
            "Choose another with --run_dir."
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunDirError(
            f"cannot write to the run directory {run_dir.path}: no permission in {nearest}. "
            "Choose another with --run_dir."
        )


def _is_io_only(change: Change) -> bool:
    paths = (change.before, change.after) if isinstance(change, Moved) else (change.path,)
    return all(leaf_class(path) is LeafClass.IO for path in paths)
