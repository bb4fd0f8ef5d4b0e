"""What must not be in any file: places of one machine, and addresses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.check.source import Finding

PLACES = {
    "absolute path": re.compile(r"(?<![\w.~>/-])/(?:home|Users|root|tmp|opt|mnt|srv|work)/\w"),
    "file address": re.compile(r"\bfile:/"),
    "host": re.compile(
        r"\blocalhost\b|https?://[^\s/]+(?::\d|\.internal\b|\.local\b)"
        r"|(?<![\d.=])(?:127\.\d+|10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+(?![\d.])"
    ),
    "memory address": re.compile(r"\bat 0x[0-9a-f]{6,}", re.IGNORECASE),
}


def check_places(root: Path) -> Iterator[Finding]:
    """Yield lines of tracked text files that only make sense on one machine."""
    for path in tracked_files(root):
        try:
            lines = (root / path).read_text("utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # Not text, or deleted and not yet committed.
        for number, line in enumerate(lines, start=1):
            for kind, pattern in PLACES.items():
                found = pattern.search(line)
                if found:
                    yield Finding(path, number, "place", f"{kind} {found.group()!r}")


def tracked_files(root: Path) -> list[str]:
    """Return what git tracks or would add; every file where there is no git repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file())
    return sorted(set(listed.stdout.split("\0")) - {""})
