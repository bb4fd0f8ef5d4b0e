"""`python -m axl_exp.generate --run_dir=RUN --prompt=TEXT`: what a checkpoint says."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command
from axl_exp.errors import UserError


def make_parser() -> CommandParser:
    """Return the parser of the flags."""
    parser = CommandParser(
        prog="python -m axl_exp.generate",
        description="Let the model of a run go on with texts. All prompts are one batch; text goes "
        "to stdout as it\ncomes, everything else to stderr.",
    )
    parser.add_argument("--run_dir", required=True, type=Path, help="the run directory")
    parser.add_argument(
        "--prompt", action="append", default=[], help="a text to go on with; may be repeated"
    )
    parser.add_argument("--prompt_file", type=Path, help="a file with a prompt on each line")
    parser.add_argument("--max_tokens", type=int, default=128, help="new tokens; %(default)s")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="0, the default: always the most likely"
    )
    parser.add_argument("--top_k", type=int, help="draw from so many tokens")
    parser.add_argument("--top_p", type=float, help="draw from tokens of so much probability")
    parser.add_argument("--seed", type=int, help="of the draws; default: 0")
    parser.add_argument("--step", type=int, help="of this checkpoint; default: the newest")
    parser.add_argument("--ema", action="store_true", help="use the parameters' running means")
    parser.add_argument(
        "--mesh", help="hardware selector, such as cpu-8; default: all devices that are there"
    )
    parser.add_argument("--module", help="a module of your own that the run's config is from")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and generate; returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if not args.prompt and args.prompt_file is None:
        parser.error("there is no prompt: give --prompt or --prompt_file")
    if args.max_tokens < 1:
        parser.error(f"--max_tokens={args.max_tokens} must be 1 or more")
    if args.temperature == 0:
        for flag in ("top_k", "top_p", "seed"):
            if getattr(args, flag) is not None:
                parser.error(f"--{flag} is for draws: add --temperature=1, or leave it out")
    return run_command(lambda: _generate(args), debug=args.debug)


def _generate(args: argparse.Namespace) -> int:
    prompts = [*args.prompt, *_lines(args.prompt_file)]

    from axl_exp.generate.generating import generate
    from axl_exp.generate.sampling import Sampling
    from axl_exp.generate.show import Shower, facts_line
    from axl_exp.run.layout import RunDir
    from axl_exp.train.compilation_cache import keep_compiled_programs
    from axl_exp.train.devices import select_devices
    from axl_exp.trained_run import TrainedRun

    if args.mesh is not None:
        select_devices(args.mesh)
    keep_compiled_programs()
    shower = None if args.json else Shower(sys.stdout, prompts)
    generated = generate(
        TrainedRun(RunDir(args.run_dir), module=args.module),
        prompts,
        max_tokens=args.max_tokens,
        sampling=Sampling(args.temperature, args.top_k, args.top_p, args.seed or 0),
        step=args.step,
        ema=args.ema,
        say=lambda text: print(text, file=sys.stderr),
        on_text=(lambda row, text: None) if shower is None else shower.on_text,
    )
    if shower is None:
        print(json.dumps({"run_dir": str(args.run_dir), **dataclasses.asdict(generated)}))
    else:
        shower.end([continuation.text for continuation in generated.continuations])
    print(facts_line(generated), file=sys.stderr)
    return 0


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read --prompt_file={path} ({error}).") from error
    if not lines:
        raise UserError(f"--prompt_file={path} has no line; write a prompt on each.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
