"""Who set a field: every write to a config is remembered with its writer, file and line."""

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFAULT = "default"
RECIPE = "recipe"
CHANGED_IN_PLACE = "changed in place"

_PACKAGE = str(Path(__file__).parent)
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_WRITER: contextvars.ContextVar["Writer"] = contextvars.ContextVar("config writer")
_COUNT = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Writer:
    """Who writes: a name, and the place of its line of code or its text."""

    by: str
    where: str


@dataclasses.dataclass(frozen=True)
class Write:
    """One assignment to one field.

    Attributes:
        by: "default", "recipe", "mesh rule tpu-v5e-256", "command line", ...; "changed in place"
            for a container that was modified behind the config's back (`cfg.dims.append(3)`).
        where: `experiments/fuji/recipe.py:41`, the flag as it was typed, the class that declares
            the default; "" if unknown.
        value: What was set; in place of every config, the name of its class.
        before: What the field held until then.
        order: Grows with every write of this process.
        path: Of the field, in the answers of `axl_exp.config.explain`.
    """

    by: str
    where: str
    value: Any
    before: Any = dataclasses.field(default=None, compare=False, repr=False)
    order: float = dataclasses.field(default_factory=_COUNT.__next__, compare=False, repr=False)
    path: str = ""

    @property
    def told(self) -> str:
        """Who and where: `recipe (experiments/fuji/recipe.py:41)`."""
        return f"{self.by} ({self.where})" if self.where else self.by


@contextlib.contextmanager
def written_by(by: str, *, where: str | None = None) -> Iterator[None]:
    """Attribute every config write inside the block to `by` (and to `where`, if given)."""
    token = _WRITER.set(Writer(by, where or ""))
    try:
        yield
    finally:
        _WRITER.reset(token)


def current_writer() -> Writer:
    """Return who writes now: at `where`, or the nearest line of code outside this package.

    The default of a field, made in the body of a class, is a default and no recipe's choice.
    """
    writer = _WRITER.get(None)
    if writer is not None and writer.where:
        return writer
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    is_function = frame.f_code.co_flags & inspect.CO_OPTIMIZED
    in_class_body = not is_function and "__qualname__" in frame.f_locals
    by = writer.by if writer is not None else DEFAULT if in_class_body else RECIPE
    return Writer(by, f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}")


@functools.cache
def _short(filename: str) -> str:
    """`filename` relative to the project or the working directory, where it lies in one of them."""
    path = Path(filename)
    for root in (_PROJECT_ROOT, Path.cwd()):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return filename
