"""`python -m axl_exp.dryrun search`: the fastest way to run a config on a hardware, as a rule."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from axl_exp.cli import CommandParser, run_command, split_overrides

_EPILOG = """\
The batch and all else stay as today's rule has them. Every mesh whose axes divide devices, heads
and rows, and what layers keep or offload, in the fewest parts of a batch that fit by plan.
--level=compile compiles the best of them (results are kept: run it again to go on) and ranks those.

exit codes: 0 something fits, 1 nothing does, 2 usage
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags; overrides are taken out before it sees them."""
    parser = CommandParser(
        prog="python -m axl_exp.dryrun search",
        description="Find the mesh, remat policy and accumulation under which a config runs "
        "fastest on a hardware, and print the mesh rule.",
        epilog=_EPILOG,
    )
    parser.add_argument("--config", required=True, help="name of a config")
    parser.add_argument("--mesh", required=True, help="hardware selector, such as tpu-v5e-256")
    parser.add_argument("--level", choices=("plan", "compile"), default="plan")
    parser.add_argument("--top", type=_count, default=5, help="how many are told, and compiled")
    parser.add_argument("--module", help="a module of your own with configs and rules")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--md", action="store_true", help="print Markdown")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and search; returns the exit code."""
    words, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    flags = parser.parse_args(words)
    if flags.json and flags.md:
        parser.error("--json and --md exclude each other")
    return run_command(lambda: _search(flags, overrides), debug=flags.debug)


def _search(flags: argparse.Namespace, overrides: list[tuple[str, str]]) -> int:
    from axl_exp.config import Override
    from axl_exp.dryrun.progress import SweepProgress
    from axl_exp.dryrun.search.search import Question, search
    from axl_exp.dryrun.search.show import answer_json, paste_text, section_of, where_to_paste
    from axl_exp.dryrun.section import as_markdown, print_sections
    from axl_exp.mesh import parse_selector
    from axl_exp.report.terminal import make_console

    question = Question(
        config=flags.config,
        hardware=parse_selector(flags.mesh),
        overrides=tuple(Override(path, text) for path, text in overrides),
        module=flags.module,
    )
    with SweepProgress(total=0) as progress:
        answer = search(
            question,
            level=flags.level,
            top=flags.top,
            start=progress.expect,
            say=progress.say,
            advance=progress.advance,
            progress=progress.stage,
        )
    text = paste_text(answer)
    if flags.json:
        print(json.dumps(answer_json(answer), indent=2))
    elif flags.md:
        print(as_markdown([section_of(answer)]), end="")
        if text:
            print(f"\n{where_to_paste(answer)}\n\n```python\n{text}```")
    else:
        print_sections([section_of(answer)], make_console())
        if text:
            print(f"\n{where_to_paste(answer)}\n\n{text}", end="")
    return 0 if answer.best else 1


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 100")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
