"""`python -m axl_exp.launch --config=fuji-1B`: resolve a config for this hardware and train it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command, split_overrides
from axl_exp.launch.huge_pages import start_over_with_huge_pages
from axl_exp.train.stop import StopRequest, stop_on_signals


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the launch flags; overrides are taken out before it sees them."""
    parser = CommandParser(
        prog="python -m axl_exp.launch",
        description="Train a config on whatever this machine has. Launch again with the same "
        "--run_dir to resume.",
        epilog="Any field of the config is set by --config.<path>=<value>, such as "
        "--config.learner.optimizer.learning_rate=1e-3. Several processes train one run where a "
        "cluster starts them (SLURM, Open MPI, Kubernetes, Cloud TPU); by hand, start each with "
        "JAX_COORDINATOR_ADDRESS=<host:port of process 0>, JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
    )
    parser.add_argument(
        "--config", required=True, help="name of a config (fuji-1B), or file.py with get_config()"
    )
    parser.add_argument(
        "--mesh", default="auto", help="hardware selector, such as cpu-8; default: what is there"
    )
    parser.add_argument("--run_dir", type=Path, help="default: a new directory under runs/")
    parser.add_argument("--data_dir", help="your TFDS directory; default: the embedded corpus")
    parser.add_argument("--module", help="a module of your own with configs, beside the built-in")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and launch; returns the exit code."""
    started = time.perf_counter()
    flags, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(flags)
    if argv is None:  # This process is the command: it may be put in its own place.
        start_over_with_huge_pages(args.mesh)
    with stop_on_signals() as stop:
        return run_command(lambda: _launch(args, overrides, started, stop), debug=args.debug)


def _launch(
    args: argparse.Namespace, overrides: list[tuple[str, str]], started: float, stop: StopRequest
) -> int:
    # Below flag parsing, so that --help and a wrong flag cost nothing: this imports jax.
    from axl_exp.launch.launching import LaunchRequest, launch_together

    return launch_together(
        LaunchRequest(
            config=args.config,
            mesh=args.mesh,
            run_dir=args.run_dir,
            data_dir=args.data_dir,
            module=args.module,
            overrides=tuple(overrides),
            debug=args.debug,
            started=started,
            stop=stop,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
