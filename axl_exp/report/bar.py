"""A bar that moves on a terminal, for whatever takes long."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def make_bar(console: Console, *columns: str | ProgressColumn) -> Progress:
    """Return a bar of `columns` that is gone at its end; in a pipe it shows nothing."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
