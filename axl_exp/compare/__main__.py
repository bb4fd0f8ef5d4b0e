"""`python -m axl_exp.compare A B`: config, environment and metrics of two runs, with a verdict."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from axl_exp.cli import CommandParser, run_command

_DESCRIPTION = """\
Compare run B (and C, ...) against run A: verdict, validity, metrics, time, losses, config.

Each side is RUN, or RUN,RUN,... (repeats: three or more per side give a test), or NAME=RUN,...
A RUN is
  a run directory, or its metrics.jsonl alone; a pattern of them ('runs/fuji-*'); RUN+RUN is one
    run that went on in another directory, LOG+JSONL a log and the metrics file beside it;
  a git branch or commit with runs in the store: its newest finished run and that run's repeats
    (REF:config chooses the config where there are several);
  a log of MaxText, Megatron-LM, torchtitan, AXLearn, DeepSpeed, Hugging Face Trainer, or a
    directory of TensorBoard event files, found out by their content; LOG+LOG or a directory of
    logs is one run, of several hosts or restarts;
  a page of MaxView, or a word-diff of two logs: one with two logs is both sides, PAGE#NAME is
    one of them (of a word-diff, old and new).

exit codes: 0 no regression, 1 regression, 2 usage or a file that cannot be read,
            3 not comparable or not enough data
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = CommandParser(prog="python -m axl_exp.compare", description=_DESCRIPTION)
    parser.add_argument("a", metavar="A", nargs="?", help="the side that is compared against")
    parser.add_argument("others", metavar="B", nargs="*", help="the sides that are judged")
    parser.add_argument(
        "--margin",
        metavar="PERCENT",
        type=_margin,
        help="a change that counts as none, as 1%% or 0.01: equivalence must be shown",
    )
    parser.add_argument(
        "--floors", action="store_true", help="show the noise floors of the run store and exit"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, schema axl_exp.compare/2")
    parser.add_argument(
        "--html", metavar="FILE", help="write the report as one self-contained page as well"
    )
    parser.add_argument(
        "--md", metavar="FILE", help="write Markdown for a pull request as well, under 64 KB"
    )
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    flags = parser.parse_args(argv)
    if flags.a is None and not flags.floors:
        parser.error("name two runs to compare")
    body = _show_floors if flags.floors else _compare
    return run_command(lambda: body(flags), debug=flags.debug)


def _margin(text: str) -> float:
    """Return a share from `1%` or `0.01`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write 1% or 0.01")
    return value


def _compare(flags: argparse.Namespace) -> int:
    from axl_exp.compare.as_json import comparison_json
    from axl_exp.compare.as_markdown import comparison_markdown
    from axl_exp.compare.comparison import compare
    from axl_exp.compare.page import render_comparisons
    from axl_exp.compare.refs import NoSuchRunError
    from axl_exp.compare.show import show_all
    from axl_exp.compare.sides import choose_sides, load_side
    from axl_exp.compare.stored_floors import stored_floors
    from axl_exp.compare.verdict import worst_exit_code
    from axl_exp.report.terminal import make_console
    from axl_exp.run.store import RunStore

    store = RunStore()
    sides = choose_sides([flags.a, *flags.others], store=store)
    if len(sides) == 1:
        raise NoSuchRunError(f"{flags.a} is one run: name a second one to compare it with.")
    loaded = [load_side(side) for side in sides]
    floors = stored_floors(loaded[0].runs[0], store)
    comparisons = compare(loaded, floors=floors, margin=flags.margin)
    if flags.html is not None:
        _write_report(flags.html, render_comparisons(comparisons))
    if flags.md is not None:
        _write_report(flags.md, comparison_markdown(comparisons))
    if flags.json:
        print(comparison_json(comparisons))
    else:
        show_all(comparisons, make_console())
    return worst_exit_code([comparison.verdict for comparison in comparisons])


def _write_report(file: str, text: str) -> None:
    from axl_exp.run.files import write_text

    write_text(Path(file), text)
    print(f"report: {file}", file=sys.stderr)


def _show_floors(flags: argparse.Namespace) -> int:
    from axl_exp.compare.show_floors import floors_json, show_floors
    from axl_exp.compare.stored_floors import all_floors
    from axl_exp.report.terminal import make_console
    from axl_exp.run.store import RunStore

    floors = all_floors(RunStore(), config=flags.a)
    if flags.json:
        print(floors_json(floors))
    else:
        show_floors(floors, make_console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
