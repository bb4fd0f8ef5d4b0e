"""`python -m tools.measured`: predictions of the compile level beside what others measured.

A row takes minutes to compile; what is compiled is kept, see `compile_dry_run`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from axl_exp.dryrun.compiled.compile import compile_dry_run
from axl_exp.errors import UserError
from axl_exp.report.terminal import make_console, make_table
from tools.measured.rows import ROWS, Row

_HEADERS = (
    "config", "hardware", "measured", "predicted", "predicted / measured", "waits for", "compiler"
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 where a row could not be predicted."""
    parser = argparse.ArgumentParser(prog="python -m tools.measured", description=__doc__)
    for flag, field in (("--row", "config"), ("--mesh", "selector")):
        parser.add_argument(
            flag,
            action="append",
            metavar="NAME",
            choices=sorted({getattr(row, field) for row in ROWS}),
            help=f"only this {field}; repeat",
        )
    flags = parser.parse_args(argv)
    chosen = [
        row
        for row in ROWS
        if (not flags.row or row.config in flags.row)
        and (not flags.mesh or row.selector in flags.mesh)
    ]
    rows = [_predict(row) for row in chosen]
    console = make_console()
    console.print(make_table(*_HEADERS, rows=rows, right=(2, 3, 4)))
    console.print("measured and predicted in tokens per second and device")
    return 1 if any(row[3] == "-" for row in rows) else 0


def _predict(row: Row) -> tuple[str, ...]:
    measured = f"{row.tokens_per_second_per_device:,.0f}"
    try:
        facts = compile_dry_run(row.resolved(), progress=_tell)
    except UserError as error:
        return (row.config, row.selector, measured, "-", "-", str(error), "")
    finally:
        print("\r\x1b[K" if sys.stderr.isatty() else "", end="", file=sys.stderr)
    if facts.prediction is None:
        return (row.config, row.selector, measured, "-", "-", facts.memory.verdict, facts.compiler)
    predicted = facts.prediction.tokens_per_second_per_device
    step = facts.prediction.step_seconds
    waits = ", ".join(
        f"{link} {seconds / step:.0%}" for link, seconds in facts.prediction.exposed_seconds.items()
    )
    ratio = f"{predicted / row.tokens_per_second_per_device:.2f}"
    cells = (row.config, row.selector, measured, f"{predicted:,.0f}", ratio, waits)
    return (*cells, facts.compiler)


def _tell(stage: str, seconds: float) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{seconds:4.0f} s  {stage}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
