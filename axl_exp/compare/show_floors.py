"""The noise floors of the run store, for a person and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from axl_exp.compare.floors import MIN_RUNS, Floors
from axl_exp.report.terminal import make_table
from axl_exp.report.text import printable
from axl_exp.run.files import strict_json

SCHEMA = "axl_exp.floors/1"


def show_floors(floors: Sequence[Floors], console: Console) -> None:
    """Print a table per config and hardware, or how to come by one."""
    if not floors:
        console.print(
            Text(
                f"No noise floor is stored: it takes {MIN_RUNS} finished runs of one commit, "
                "config and hardware. Until then floors are assumed, and every verdict says so."
            )
        )
    for found in floors:
        console.print(Text(printable(f"{found.config} on {found.hardware}"), style="bold"))
        rows = []
        for figure, (spread, degrees, num_runs) in sorted(found.spreads.items()):
            floor = found.floor(figure, assumed=0.0)
            told = [f"{100 * floor.between(n, n):.3g} %" for n in (1, 3)]
            rows.append((figure, f"{100 * spread:.3g} %", *told, str(num_runs), str(degrees)))
        headers = ("figure", "spread (sd)", "floor 1:1", "floor 3:3", "A/A runs", "degrees")
        console.print(make_table(*headers, rows=rows, right=(1, 2, 3, 4, 5)))


def floors_json(floors: Sequence[Floors]) -> str:
    """Return the floors as JSON: spreads are [standard deviation, degrees of freedom, runs]."""
    told = [{**asdict(f), "one_seed": sorted(f.one_seed)} for f in floors]
    return json.dumps(strict_json({"schema": SCHEMA, "floors": told}), indent=2, allow_nan=False)
