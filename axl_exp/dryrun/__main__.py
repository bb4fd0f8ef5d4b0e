"""`python -m axl_exp.dryrun --config=fuji-7B-v2 --mesh=tpu-v5e-256`: know before you launch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from axl_exp.cli import (
    CommandParser,
    did_you_mean,
    rare_collections,
    run_command,
    split_overrides,
)

if TYPE_CHECKING:
    from axl_exp.config import Override

_EPILOG = """\
levels:
  plan     traces the step: shardings, memory, communication and the least time; seconds
  compile  gives it to the compiler of the hardware, without that hardware; minutes

commands of their own, each with its --help:
  search      the mesh, remat policy and accumulation that are fastest, as a mesh rule
  diff A B    what changes between two commits, on every hardware

Any field of the config is set by --config.<path>=<value>.

exit codes: 0 it fits, 1 it (or one row of --all) does not, 2 usage, or it cannot be laid out
"""

_COMMANDS = ("search", "diff")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags; overrides are taken out before it sees them."""
    parser = CommandParser(
        prog="python -m axl_exp.dryrun",
        description="What a config needs on a hardware, told on a CPU: shardings, memory, "
        "communication, time.",
        epilog=_EPILOG,
    )
    parser.add_argument("--config", help="name of a config; with --all a glob (default: all)")
    parser.add_argument(
        "--mesh", help="hardware selector, such as tpu-v5e-256; with --all a glob (default: all)"
    )
    parser.add_argument("--all", action="store_true", help="sweep configs and hardware, one table")
    parser.add_argument("--level", choices=("plan", "compile"), default="plan")
    parser.add_argument("--module", help="a module of your own with configs, beside the built-in")
    parser.add_argument("--json", action="store_true", help="print all facts as JSON")
    parser.add_argument("--md", action="store_true", help="print Markdown")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page too")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


@rare_collections()
def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and tell; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    # Whatever this machine has is left alone, and nobody looks for it.
    os.environ["JAX_PLATFORMS"] = "cpu"
    if argv and not argv[0].startswith("-") and argv[0] not in _COMMANDS:
        make_parser().error(f"no command is called {argv[0]!r}.{did_you_mean(argv[0], _COMMANDS)}")
    if argv and argv[0] == "search":
        from axl_exp.dryrun.search.__main__ import main as search_main

        return search_main(argv[1:])
    if argv and argv[0] == "diff":
        from axl_exp.dryrun.diff.__main__ import main as diff_main

        return diff_main(argv[1:])
    words, overrides = split_overrides(argv)
    parser = make_parser()
    flags = parser.parse_args(words)
    if not flags.all and not (flags.config and flags.mesh):
        parser.error("--config and --mesh are needed, or --all")
    if flags.json and flags.md:
        parser.error("--json and --md exclude each other")
    return run_command(lambda: _dry_run(flags, overrides), debug=flags.debug)


def _dry_run(flags: argparse.Namespace, overrides: list[tuple[str, str]]) -> int:
    from axl_exp.config import Override
    from axl_exp.run.files import check_writable

    if flags.html is not None:
        check_writable(flags.html)  # Before what takes minutes, not after it.
    changes = [Override(path, text) for path, text in overrides]
    return _sweep(flags, changes) if flags.all else _single(flags, changes)


def _single(flags: argparse.Namespace, changes: list[Override]) -> int:
    from axl_exp.dryrun.dry_run import dry_run
    from axl_exp.dryrun.progress import SweepProgress
    from axl_exp.dryrun.show import sections_of
    from axl_exp.dryrun.sweep import is_pattern
    from axl_exp.dryrun.tell import tell
    from axl_exp.errors import UserError
    from axl_exp.resolve import resolve

    for flag in ("config", "mesh"):
        if is_pattern(getattr(flags, flag)):
            raise UserError(f"--{flag}={getattr(flags, flag)} is a pattern: add --all.")
    resolved = resolve(flags.config, selector=flags.mesh, overrides=changes, module=flags.module)
    for warning in resolved.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    with SweepProgress(total=1) as progress:
        progress.say(f"{resolved.name} on {resolved.hardware}")
        run = dry_run(resolved, level=flags.level, progress=progress.stage)
    tell(flags, run.to_json(), sections_of(run), title=f"{run.config} on {run.selector}")
    return 0 if run.fits else 1


def _sweep(flags: argparse.Namespace, changes: list[Override]) -> int:
    from axl_exp.dryrun.progress import SweepProgress
    from axl_exp.dryrun.show import section_of_rows
    from axl_exp.dryrun.sweep import find_pairs, sweep
    from axl_exp.dryrun.tell import tell

    pairs = find_pairs(config=flags.config, mesh=flags.mesh, module=flags.module)
    rows = []
    with SweepProgress(total=len(pairs)) as progress:
        for row in sweep(
            pairs,
            overrides=changes,
            module=flags.module,
            level=flags.level,
            say=progress.say,
            progress=progress.stage,
        ):
            rows.append(row)
            progress.advance()
    rows.sort(key=lambda row: pairs.index((row.config, row.selector)))
    told = [row.to_json() for row in rows]
    tell(flags, told, [section_of_rows(rows)], title="Dry runs")
    return 0 if all(row.verdict == "fits" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
