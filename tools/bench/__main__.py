"""Measure ours beside the same thing done by hand: python -m tools.bench WHAT.

Nothing passes or fails: the numbers belong into the commit message of a change that moves them. Run
it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measure what the first argument names and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("what", choices=("train", "step", "startup", "help", "data", "compare"))
    parser.add_argument(
        "--case",
        choices=("first", "tiny", "small", "1B", "8B"),
        default="tiny",
        help="what train trains; 1B and 8B need a GPU",
    )
    parser.add_argument("--num_rounds", type=int, help="turns of each side")
    parser.add_argument("--json", action="store_true", help="raw samples instead of a table")
    flags = parser.parse_args()

    # Below flag parsing: these import JAX.
    from axl_exp.report.terminal import make_console, make_table
    from tools.bench.compare import measure_compare
    from tools.bench.data import measure_data
    from tools.bench.help import measure_help
    from tools.bench.startup import measure_startup
    from tools.bench.step import measure_step
    from tools.bench.train import measure_train

    if flags.what == "help":
        reports = [measure_help(ROOT, num_rounds=flags.num_rounds or 10)]
    elif flags.what == "compare":
        reports = [measure_compare(ROOT, num_rounds=flags.num_rounds or 1)]
    elif flags.what == "data":
        reports = [measure_data(num_rounds=flags.num_rounds or 5)]
    elif flags.what == "startup":
        reports = [measure_startup(ROOT, num_rounds=flags.num_rounds or 3)]
    elif flags.what == "step":
        reports = [measure_step(num_rounds=flags.num_rounds or 12)]
    else:
        reports = measure_train(ROOT, flags.case, num_rounds=flags.num_rounds or 5)
    if flags.json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
        return 0
    console = make_console()
    headers = ("", "median", "lowest", "highest", "ratio", "over rounds")
    for report in reports:
        console.print(
            make_table(*headers, rows=report.rows(), right=(1, 2, 3, 4, 5), title=report.title)
        )
        for note in (*report.notes, f"goal: {report.goal}"):
            console.print(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
