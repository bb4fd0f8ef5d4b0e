"""Taking possession of a run directory: a new one, or one whose config is the same."""

import contextlib
import os
from collections.abc import Iterator, Mapping

from axl_exp.config.delta import delta_text
from axl_exp.config.diff import Change, Moved, diff
from axl_exp.config.leaf_class import LeafClass, leaf_class
from axl_exp.config.parse import parse_text
from axl_exp.config.provenance import Write
from axl_exp.run.files import write_text
from axl_exp.run.layout import RunDir, RunDirError
from axl_exp.run.writers import write_writers

try:
    import fcntl
except ImportError:  # Windows: two launches into one directory are not kept apart there.
    fcntl = None

_SHOWN = 3


def check_claim(run_dir: RunDir, *, config_text: str) -> tuple[Change, ...]:
    """Return what a run with this config would change in the config of `run_dir`; writes nothing.

    Raises:
        RunDirError: The directory cannot be written, is in use, holds something that is no run, or
            belongs to a run of another config (differences in I/O alone do not count).
    """
    _check_writable(run_dir)
    if run_dir.path.is_dir():
        with _hold(run_dir):
            return _changes(run_dir, config_text)
    return ()


def _changes(run_dir: RunDir, config_text: str) -> tuple[Change, ...]:
    if not run_dir.config.is_file():
        # A launch that was killed as it wrote config.txt leaves the beginning of it.
        torn = f".{run_dir.config.name}."
        names = sorted(p.name for p in run_dir.path.iterdir())
        others = [name for name in names if not name.startswith(torn)]
        if others:
            raise RunDirError(
                f"{run_dir.path} is no run directory and not empty (it holds {others[0]!r}). "
                "Choose another with --run_dir."
            )
        return ()
    try:
        text = run_dir.config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirError(
            f"cannot read {run_dir.config} ({error}). "
            "Put back a good copy, or choose another --run_dir."
        ) from error
    before = parse_text(text, source=str(run_dir.config))
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


@contextlib.contextmanager
def claim(
    run_dir: RunDir, *, config_text: str, writers: Mapping[str, Write] | None = None
) -> Iterator[tuple[Change, ...]]:
    """Make `run_dir` the directory of a run with this config, and yield what changed in it.

    Inside the block no other launch can claim it.
    A directory that has a run already is continued if the configs differ in I/O alone (how often
    something is saved or logged); config.txt then tells of the newest launch.

    Args:
        writers: Who set each leaf of the config, where that is known.

    Raises:
        RunDirError: As `check_claim`.
    """
    _check_writable(run_dir)
    run_dir.make()
    with _hold(run_dir):
        changes = _changes(run_dir, config_text)
        write_text(run_dir.config, config_text)
        if writers is not None:
            write_writers(run_dir, writers)
        yield changes


@contextlib.contextmanager
def _hold(run_dir: RunDir) -> Iterator[None]:
    """Hold the lock on the directory itself, so that there is no lock file to be left behind."""
    descriptor = os.open(run_dir.path, os.O_RDONLY)
    try:
        _lock(descriptor, run_dir)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, run_dir: RunDir) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunDirError(
            f"{run_dir.path} is in use by another launch: is this run already going? "
            "Stop that one, or choose another --run_dir."
        ) from None
    except OSError:
        pass  # No locks on directories here (some network mounts): metrics.jsonl has its own.


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
