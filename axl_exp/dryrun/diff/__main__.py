"""`python -m axl_exp.dryrun diff A B`: what a branch does on every hardware."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command, split_overrides

_EPILOG = """\
Each commit is checked out in a git worktree of its own, swept by its own code, and removed. The
working tree stays as it is; `.` stands for it, with what is not committed.

exit codes: 0 nothing changes, 1 something does, 2 usage, or a commit has no dry run
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags; overrides are taken out before it sees them."""
    parser = CommandParser(
        prog="python -m axl_exp.dryrun diff",
        description="Tell what changes from commit A to B in memory, communication and predicted "
        "step time, for every config on every hardware.",
        epilog=_EPILOG,
    )
    parser.add_argument("a", metavar="A", help="commit, branch or tag")
    parser.add_argument("b", metavar="B", nargs="?", default=".", help="default: working tree")
    parser.add_argument("--config", metavar="GLOB", help="names of configs; default: all")
    parser.add_argument("--mesh", metavar="GLOB", help="hardware selectors; default: all")
    parser.add_argument("--level", choices=("plan", "compile"), default="plan")
    parser.add_argument("--module", help="a module of your own with configs, in both commits")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--md", action="store_true", help="print Markdown")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page too")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and tell; returns the exit code."""
    words, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    flags = parser.parse_args(words)
    if flags.json and flags.md:
        parser.error("--json and --md exclude each other")
    return run_command(lambda: _diff(flags, overrides), debug=flags.debug)


def _diff(flags: argparse.Namespace, overrides: list[tuple[str, str]]) -> int:
    from axl_exp.dryrun.diff.changes import diff_sweeps
    from axl_exp.dryrun.diff.of_ref import rows_of_ref
    from axl_exp.dryrun.diff.show import diff_json, section_of_diff
    from axl_exp.dryrun.tell import tell
    from axl_exp.run.checkout import repository_root, resolve_ref
    from axl_exp.run.files import check_writable

    if flags.html is not None:
        check_writable(flags.html)  # Before what takes minutes, not after it.

    repository = repository_root(Path.cwd())
    refs = [resolve_ref(name, repository=repository) for name in (flags.a, flags.b)]
    passed = [
        f"--{name}={value}"
        for name in ("config", "mesh", "level", "module")
        if (value := getattr(flags, name))
    ]
    passed += [f"--config.{path}={text}" for path, text in overrides]
    sweeps = {
        ref.commit: rows_of_ref(ref, repository=repository, flags=passed, say=_say)
        for ref in {ref.commit: ref for ref in refs}.values()
    }
    found = diff_sweeps(*(sweeps[ref.commit] for ref in refs))
    a, b = (f"{ref.name} ({ref.commit[:12]})" for ref in refs)
    told = diff_json(found, a=refs[0].commit, b=refs[1].commit)
    tell(flags, told, [section_of_diff(found, a=a, b=b)], title="Dry runs of two commits")
    return 1 if found.rows else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
