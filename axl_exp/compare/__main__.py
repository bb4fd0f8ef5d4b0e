"""`python -m axl_exp.compare A B`: config, environment and metrics of two runs, with a verdict."""

from __future__ import annotations

import argparse
import sys

from axl_exp.cli import CommandParser, run_command

_DESCRIPTION = """\
Compare run B against run A: verdict, validity, metrics, time, losses, config.

A and B are each
  a run directory, or its metrics.jsonl alone;
  a git branch or commit with runs in the store (its newest finished run; REF:config chooses the
    config where there are several);
  a log of MaxText, Megatron-LM, torchtitan or AXLearn, or a directory of TensorBoard event files,
    found out by their content;
  a page of MaxView: one with two logs is both sides, PAGE#NAME is one of them.

exit codes: 0 no regression, 1 regression, 2 usage or a file that cannot be read,
            3 not comparable or not enough data
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = CommandParser(prog="python -m axl_exp.compare", description=_DESCRIPTION)
    parser.add_argument("a", metavar="A", help="the run that is compared against")
    parser.add_argument("b", metavar="B", nargs="?", help="the run that is judged")
    parser.add_argument("--json", action="store_true", help="print JSON, schema axl_exp.compare/1")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    flags = parser.parse_args(argv)
    return run_command(lambda: _compare(flags), debug=flags.debug)


def _compare(flags: argparse.Namespace) -> int:
    from axl_exp.compare.as_json import comparison_json
    from axl_exp.compare.comparison import compare
    from axl_exp.compare.show import show
    from axl_exp.compare.sides import NoSuchRunError, choose_sides
    from axl_exp.report.terminal import make_console
    from axl_exp.run.store import RunStore

    names = [flags.a] if flags.b is None else [flags.a, flags.b]
    sides = choose_sides(names, store=RunStore())
    if len(sides) == 1:
        raise NoSuchRunError(f"{flags.a} is one run: name a second one to compare it with.")
    comparison = compare(*sides)
    if flags.json:
        print(comparison_json(comparison))
    else:
        show(comparison, make_console())
    return comparison.verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
