"""metrics.jsonl: one strict JSON object per line, appended as the run goes.

Line 1 is a header, `{"schema": "axl_exp.metrics/1", ...}`. Then flat objects: step records
`{"step": 12, "train/loss": 6.03, ...}` and events `{"event": "restart", "step": 40, ...}`.
Floats are written whole (shortest text that reads back to the same bits); a float that JSON cannot
say is one of the strings "nan", "inf", "-inf".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axl_exp.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: runs are not guarded against a second writer there.
    fcntl = None

SCHEMA = "axl_exp.metrics/1"
RESTART = "restart"


class MetricsError(UserError):
    """A metrics file that is in use, cannot be written, has an unknown schema, or is none."""


class MetricsWriter:
    """Appends records to a metrics file; one `write()` per line, so a kill tears at most the last.

    Opening an existing file first cuts the torn line that a killed process may have left. The file
    is locked while it is open: two runs cannot write into one directory.

    Example:
        with MetricsWriter(run_dir.metrics, header={"config": "fuji-tiny"}) as writer:
            writer.write({"step": 1, "train/loss": 9.01})

    Raises:
        MetricsError: Another process is writing the file, or its schema is not ours.
    """

    def __init__(self, path: Path, *, header: Mapping[str, Any]):
        self._path = path
        try:
            self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 (closed by close())
        except OSError as error:
            raise MetricsError(f"cannot write {path}: {error.strerror}") from error
        try:
            _lock(self._file.fileno(), path)
            if _mend_tail(self._file) == 0:
                self._append({"schema": SCHEMA, **header})
            else:
                self._file.seek(0)
                _check_header(self._file.readline(), path)
        except BaseException:
            self._file.close()
            raise

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one step record: `step` and flat values (numbers, numpy scalars, strings, None).

        Raises:
            TypeError: A value is nested or of another type.
            ValueError: `step` is missing.
        """
        if "step" not in record:
            raise ValueError(f"a metric record needs a step: {dict(record)}")
        self._append(record)

    def event(self, name: str, *, step: int, **fields: Any) -> None:
        """Append an event. `restart` at step k voids every earlier record of a step after k."""
        self._append({"event": name, "step": step, **fields})

    def sync(self) -> None:
        """Return once every record is on the disk; a checkpoint must not outlive its records."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and release its lock; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({k: _plain(k, v) for k, v in record.items()}, allow_nan=False) + "\n"
        data = line.encode()
        try:
            taken = self._file.write(data)
        except OSError as error:
            raise MetricsError(f"cannot write {self._path}: {error.strerror}") from error
        if taken != len(data):
            raise MetricsError(f"cannot write {self._path}: the disk took only a part of a record")


def _plain(key: str, value: Any) -> Any:
    """Return `value` as strict JSON can say it."""
    if not isinstance(value, (str, bool, int, float)) and hasattr(value, "item"):
        value = value.item()  # A numpy or jax scalar.
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(
        f"metric {key!r} must be a number, a string or None, not {type(value).__name__}"
    )


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MetricsError(
            f"{path} is being written by another process: is this run already going? "
            "Stop that one, or choose another --run_dir."
        ) from None
    except OSError:  # A file system without locks (some network mounts): go unguarded.
        pass


def _mend_tail(file: Any) -> int:
    """Make the file end in a whole line and return its size in bytes.

    A tail without newline that is a whole object lacks only its newline and gets it; anything
    else is the torn beginning of a record and is cut.
    """
    size = file.seek(0, os.SEEK_END)
    start = size
    tail = b""
    while start > 0 and b"\n" not in tail:
        start = max(0, start - 65536)
        file.seek(start)
        tail = file.read(size - start)
    last = tail.rpartition(b"\n")[2]
    if not last:
        return size
    try:
        whole = isinstance(json.loads(last), dict)
    except ValueError:
        whole = False
    if whole:
        file.write(b"\n")
        return size + 1
    file.truncate(size - len(last))
    return size - len(last)


def _check_header(line: bytes, path: Path) -> None:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    schema = header.get("schema") if isinstance(header, dict) else None
    if schema != SCHEMA:
        raise MetricsError(
            f"{path}: line 1 has schema {schema!r}, this version writes {SCHEMA!r}. "
            "Choose another --run_dir, or continue with the version that began this run."
        )
