"""Who set a field: every write to a config is remembered with its writer, file and line."""

import contextlib
import contextvars
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFAULT = "default"
RECIPE = "recipe"

_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_WRITER: contextvars.ContextVar["_Writer"] = contextvars.ContextVar("config writer")


@dataclasses.dataclass(frozen=True)
class _Writer:
    by: str
    where: str | None  # None: the line of code that makes the write.


@dataclasses.dataclass(frozen=True)
class Write:
    """One assignment to one field.

    Attributes:
        by: "default", "recipe", "mesh rule tpu-v5e-256", "command line", a modifier's name, ...
        where: `experiments/fuji/recipe.py:41`, or the flag as it was typed.
        value: The value that was set.
    """

    by: str
    where: str
    value: Any


@contextlib.contextmanager
def written_by(by: str, *, where: str | None = None) -> Iterator[None]:
    """Attribute every config write inside the block to `by` (and to `where`, if given)."""
    token = _WRITER.set(_Writer(by, where))
    try:
        yield
    finally:
        _WRITER.reset(token)


def current_write(value: Any) -> Write:
    """Return the record of a write that happens now, at the nearest frame outside this package."""
    writer = _WRITER.get(_Writer(RECIPE, None))
    return Write(writer.by, writer.where or _caller(), value)


def _caller() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        generated = frame.f_code.co_filename.startswith("<")  # the __init__ that attrs makes
        if not generated and not module.startswith("axl_exp.config"):
            break
        frame = frame.f_back
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def _short(filename: str) -> str:
    """`filename` relative to the project or the working directory, where it lies in one of them."""
    path = Path(filename)
    for root in (_PROJECT_ROOT, Path.cwd()):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return filename
