"""`python -m tools.screenshot REPORT.html IMAGE.png`: a page as Chromium shows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--window-size=1120,860"),
)


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    page, image = (Path(argument).absolute() for argument in sys.argv[1:])
    chromium = shutil.which("chromium")
    if chromium is None or not page.is_file():
        missing = page if chromium else "chromium on PATH"
        print(f"error: there is no {missing}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, *_FLAGS, f"--user-data-dir={profile}", f"--screenshot={image}"]
        done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True)
    print(image if done.returncode == 0 else done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
