"""Whole files of a run directory: written all or nothing, read with care."""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from axl_exp.errors import UserError


class RunFileError(UserError):
    """A file of a run directory that is not what it should be."""


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a machine that dies, sees the old file or the new one.

    Raises:
        RunFileError: The system does not take it: no space, no permission.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as `write_text` writes a text.

    Raises:
        RunFileError: The system does not take it: no space, no permission.
    """
    try:
        _write_whole(path, data)
    except OSError as error:
        raise RunFileError(f"cannot write {path}: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Raise what `write_text` would: known before the work whose result is to be written.

    Raises:
        RunFileError: `path` is a folder, or its folder is missing or takes no files.
    """
    if path.is_dir():
        problem = errno.EISDIR
    elif not path.parent.exists():
        problem = errno.ENOENT
    elif not path.parent.is_dir():
        problem = errno.ENOTDIR
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        problem = errno.EACCES
    else:
        return
    raise RunFileError(f"cannot write {path}: {os.strerror(problem)}")


def _write_whole(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~current_umask())  # mkstemp makes files that only we may read.
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as strict, indented JSON; non-finite floats become "nan", "inf", "-inf"."""
    write_text(path, json.dumps(strict_json(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; {} where there is no such file.

    Raises:
        RunFileError: The file cannot be read or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunFileError(f"{path} holds a {type(value).__name__}, not a JSON object")
    return value


def strict_json(value: Any) -> Any:
    """Return `value` with every non-finite float as "nan", "inf" or "-inf", which JSON can say."""
    if isinstance(value, dict):
        return {key: strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def current_umask() -> int:
    """Return the permission bits that this process takes from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(path: Path) -> None:
    """Make the rename itself durable, where the system lets a directory be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
