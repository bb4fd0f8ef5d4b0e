"""Check the rules of the house on this repository; exit 1 if any is broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.check.layers import check_cycles, check_layers, check_light
from tools.check.source import Finding, load_modules
from tools.check.startup import check_startup
from tools.check.style import check_import_places, check_names, check_sizes, long_files
from tools.check.text import check_places

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> list[Finding]:
    """Return everything that is broken in the repository at `root`, in the order of the files."""
    modules = load_modules(root)
    return sorted(
        {
            *check_layers(modules),
            *check_cycles(modules),
            *check_light(modules),
            *check_startup(modules, root=root),
            *check_sizes(modules),
            *check_names(modules),
            *check_import_places(modules),
            *check_places(root),
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.check", description=__doc__)
    parser.add_argument("--notes", action="store_true", help="also list the longer files")
    flags = parser.parse_args()
    findings = check(ROOT)
    for finding in findings:
        print(finding)
    if flags.notes:
        for note in long_files(load_modules(ROOT)):
            print(f"note: {note}")
    print(f"{len(findings)} broken rules" if findings else "the rules of the house hold")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
