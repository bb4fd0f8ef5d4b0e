"""A comparison as JSON, for programs. The schema's number changes when a field changes meaning."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.load import Run
from axl_exp.compare.sides import Side
from axl_exp.run.files import strict_json

SCHEMA = "axl_exp.compare/1"


def comparison_json(comparison: Comparison) -> str:
    """Return the comparison as indented, strict JSON; non-finite numbers are strings."""
    c = comparison
    losses = asdict(c.losses)
    losses["identical"] = c.losses.identical
    losses["cause"] = c.losses.cause and {
        "class": c.losses.cause.name,
        "told": c.losses.cause.value,
    }
    value = {
        "schema": SCHEMA,
        "verdict": asdict(c.verdict),
        "a": _side(c.side_a, c.a),
        "b": _side(c.side_b, c.b),
        "notes": c.notes,
        "differences": [asdict(difference) for difference in c.differences],
        "metrics": [
            {**asdict(metric), "delta": metric.delta, "relative": metric.relative}
            for metric in c.metrics
        ],
        "time": [asdict(use) for use in c.time],
        "losses": {**losses, "explanation": c.explanation},
        "config": [asdict(change) for change in c.changes],
    }
    return json.dumps(strict_json(value), indent=2, allow_nan=False)


def _side(side: Side, run: Run) -> dict[str, Any]:
    return {
        "name": side.name,
        "run_dir": str(run.run_dir.path),
        "config": run.config_name,
        "status": run.status,
        "git": run.env.get("git"),
        "problems": [asdict(problem) for problem in run.metrics.problems],
    }
