"""`python -m axl_exp.interop import|export`: Llamas in Hugging Face's layout, in and out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command, split_overrides

_DESCRIPTION = """\
Weights of the Llama architecture in Hugging Face's layout: config.json and *.safetensors.

  export --run_dir=RUN --to=DIR             a run's newest checkpoint as a directory that
                                            transformers and its like load
  import --from=DIR --config=NAME --run_dir=RUN
                                            such a directory as a run at step 0, to generate from

To train on from such a directory, or from another run:
  python -m axl_exp.launch --config=NAME --config.init_from=DIR
"""
_NEEDED = {"export": ("run_dir", "to"), "import": ("source", "config", "run_dir")}
_TAKEN = {
    "export": {"run_dir", "to", "step", "ema", "dtype", "max_shard_bytes"},
    "import": {"source", "config", "run_dir"},
}
_FLAGS = {"source": "from"}
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def make_parser() -> CommandParser:
    """Return the parser of the flags; overrides are taken out before it sees them."""
    parser = CommandParser(
        prog="python -m axl_exp.interop",
        description=_DESCRIPTION,
        epilog="import takes --config.<path>=<value> as a launch does.",
    )
    parser.add_argument("action", choices=tuple(_NEEDED), metavar="import|export")
    parser.add_argument("--run_dir", type=Path, help="the run directory, read or made")
    parser.add_argument("--to", type=Path, help="export: a new directory")
    parser.add_argument("--from", type=Path, dest="source", help="import: the directory to read")
    parser.add_argument("--config", help="import: the config whose model it is")
    parser.add_argument("--step", type=int, help="export: of this checkpoint; default: the newest")
    parser.add_argument("--ema", action="store_true", help="export: running means of parameters")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="export: of the weights; default: float32"
    )
    parser.add_argument(
        "--max_shard_bytes", type=_num_bytes, metavar="5GB", help="export: of one file"
    )
    parser.add_argument("--module", help="a module of your own that has the config")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and run; returns the exit code."""
    words, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    args = parser.parse_args(words)
    if overrides and args.action != "import":
        parser.error("--config.<path> is for import: an export takes the config of its run")
    for name in sorted(_TAKEN["import"] | _TAKEN["export"]):
        flag = f"--{_FLAGS.get(name, name)}"
        is_given = getattr(args, name) not in (None, False)
        if name in _NEEDED[args.action] and not is_given:
            parser.error(f"{args.action} needs {flag}")
        if is_given and name not in _TAKEN[args.action]:
            parser.error(f"{flag} is not for {args.action}")
    run = _import if args.action == "import" else _export
    return run_command(lambda: run(args, overrides), debug=args.debug)


def _num_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]B)?", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 5GB, 500MB or 1000000")
    return int(match[1]) * _UNITS[match[2] or ""]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _export(args: argparse.Namespace, overrides: list[tuple[str, str]]) -> int:
    del overrides
    import jax

    from axl_exp.interop.exporting import export
    from axl_exp.run.layout import RunDir
    from axl_exp.trained_run import TrainedRun

    jax.config.update("jax_platforms", "cpu")  # Nothing is computed on an accelerator.
    done = export(
        TrainedRun(RunDir(args.run_dir), module=args.module),
        args.to,
        step=args.step,
        ema=args.ema,
        dtype=args.dtype or "float32",
        max_shard_bytes=args.max_shard_bytes or 5 * 10**9,
        say=_say,
    )
    if args.json:
        print(json.dumps({"to": str(args.to), **dataclasses.asdict(done)}))
    else:
        print(f"{args.to}: {done.num_params:,} parameters in {', '.join(done.files)}")
    return 0


def _import(args: argparse.Namespace, overrides: list[tuple[str, str]]) -> int:
    import jax

    from axl_exp.config import Override
    from axl_exp.interop.importing import import_weights
    from axl_exp.run.layout import RunDir

    jax.config.update("jax_platforms", "cpu")  # Nothing is computed on an accelerator.
    done = import_weights(
        args.source,
        RunDir(args.run_dir),
        config=args.config,
        overrides=[Override(path, text) for path, text in overrides],
        module=args.module,
        say=_say,
    )
    if args.json:
        print(json.dumps({"run_dir": str(args.run_dir), **dataclasses.asdict(done)}))
    else:
        print(f"{args.run_dir}: {done.num_params:,} parameters at step 0 of {done.config}")
        if not done.has_vocabulary:
            _say(
                f"{args.source} has no vocabulary of the config's kind; to generate text, name its "
                "own when importing: --config.input.vocabulary.model_name=tokenizer.json"
            )
        _say(
            f"train on: python -m axl_exp.launch --config={done.config} "
            f"--config.init_from={shlex.quote(str(args.run_dir))}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
