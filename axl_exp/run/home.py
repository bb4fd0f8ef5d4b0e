"""Where axl_exp keeps what outlives a run: caches and the run store."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return `$AXL_EXP_HOME`, or `~/.cache/axl_exp` where it is unset or empty.

    The directory may not exist yet; whoever writes into it makes it.
    """
    return Path(os.environ.get("AXL_EXP_HOME") or "~/.cache/axl_exp").expanduser()
