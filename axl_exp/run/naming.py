"""How a run directory is named when the user names none."""

from __future__ import annotations

import re
import time
from pathlib import Path

from axl_exp.run.layout import RunDir, RunDirError


def new_run_dir(
    root: Path, *, config: str, commit: str | None, started_unix_seconds: float
) -> RunDir:
    """Make and return `root/<config>-<YYYYmmdd-HHMMSS>-<commit7>`, local time.

    A name that is taken gets `-2`, `-3`, ...; two processes never get the same directory.

    Raises:
        RunDirError: The directory cannot be made.
    """
    when = time.strftime("%Y%m%d-%H%M%S", time.localtime(started_unix_seconds))
    name = f"{_safe(config)}-{when}-{commit[:7] if commit else 'nocommit'}"
    RunDir(root).make()
    for attempt in range(1, 1000):
        path = root / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return RunDir(path)
    raise RunDirError(f"{root} is full of runs named {name}. Choose a name with --run_dir.")


def _safe(config: str) -> str:
    """Return a config's name as one harmless file name; of `path/to/file.py` its stem."""
    stem = Path(config).stem if config.endswith(".py") else config
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).lstrip(".-") or "run"
