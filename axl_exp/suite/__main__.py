"""`python -m axl_exp.suite`: the same cases on two commits, a verdict on every metric of each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command

_DESCRIPTION = """\
Compare two commits, end to end: each is checked out in a git worktree of its own, every case of
the suite runs on both in turns (A B A B), and every metric of each case gets a verdict.

exit codes: 0 no regression, 1 regression, 2 usage, 3 a case could not be compared
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = CommandParser(prog="python -m axl_exp.suite", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a suite on two commits and judge it")
    run.add_argument("--suite", default="core", help="name of a suite; default: core")
    run.add_argument(
        "--base", default="main", help="commit that is compared against; default: main"
    )
    run.add_argument("--head", default=".", help="commit that is judged; default: the working tree")
    run.add_argument(
        "--repeats", type=_count, default=1, help="runs per case and side; 3 give a test"
    )
    run.add_argument("--case", action="append", default=[], help="only this case; may be repeated")
    run.add_argument("--out", type=Path, help="folder of the results; default: under runs/")
    run.add_argument(
        "--md", type=Path, metavar="FILE", help="write Markdown for a pull request too"
    )
    run.add_argument("--keep_checkouts", action="store_true", help="leave the worktrees for later")
    _add_common(run)

    bisect = commands.add_parser("bisect", help="find the commit that moved a metric of a case")
    bisect.add_argument("--suite", default="core")
    bisect.add_argument("--case", required=True)
    bisect.add_argument("--metric", required=True, help="such as step_seconds, loss or memory")
    bisect.add_argument("--good", required=True, help="commit with the old figure")
    bisect.add_argument("--bad", default="HEAD", help="commit with the new figure; default: HEAD")
    bisect.add_argument("--repeats", type=_count, default=2, help="runs of a commit at least")
    bisect.add_argument("--most_repeats", type=_count, default=6, help="runs of a commit at most")
    _add_common(bisect)

    listed = commands.add_parser("list", help="list the suites")
    show = commands.add_parser("show", help="show the cases of a suite and what each changes")
    show.add_argument("suite", metavar="SUITE")
    for each in (listed, show):
        each.add_argument("--module", help="a module of your own with suites")
        each.add_argument("--json", action="store_true")
        each.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=_seconds, default=1800.0, metavar="SECONDS", help="of one run"
    )
    parser.add_argument("--module", help="a module of your own with suites and configs")
    parser.add_argument("--data_dir", help="your TFDS directory; default: the embedded corpus")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 100")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    flags = make_parser().parse_args(argv)
    body = {"run": _run, "bisect": _bisect, "list": _list, "show": _show}[flags.command]
    return run_command(lambda: body(flags), debug=flags.debug)


def _run(flags: argparse.Namespace) -> int:
    from axl_exp.suite.command_run import Outputs, run_suite

    return run_suite(
        flags.suite,
        base=flags.base,
        head=flags.head,
        repeats=flags.repeats,
        cases=flags.case,
        folder=flags.out,
        timeout_seconds=flags.timeout,
        module=flags.module,
        data_dir=flags.data_dir,
        keep_checkouts=flags.keep_checkouts,
        outputs=Outputs(json=flags.json, markdown=flags.md),
    )


def _bisect(flags: argparse.Namespace) -> int:
    from axl_exp.suite.command_bisect import bisect_suite

    return bisect_suite(
        flags.suite,
        case=flags.case,
        metric=flags.metric,
        good=flags.good,
        bad=flags.bad,
        repeats=flags.repeats,
        most_repeats=flags.most_repeats,
        timeout_seconds=flags.timeout,
        module=flags.module,
        data_dir=flags.data_dir,
        as_json=flags.json,
    )


def _list(flags: argparse.Namespace) -> int:
    from axl_exp.suite.command_show import show_suites

    return show_suites(module=flags.module, as_json=flags.json)


def _show(flags: argparse.Namespace) -> int:
    from axl_exp.suite.command_show import show_suite

    return show_suite(flags.suite, module=flags.module, as_json=flags.json)


if __name__ == "__main__":
    sys.exit(main())
