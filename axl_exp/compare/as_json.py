"""A comparison as JSON, for programs. The schema's number changes when a field changes meaning."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.load import Run
from axl_exp.compare.logs.log import Log
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
        "checks": [asdict(check) for check in c.checks],
        "theirs": c.theirs
        and {
            **asdict(c.theirs),
            "figures": [{**asdict(f), "diff": f.diff} for f in c.theirs.figures],
        },
    }
    return json.dumps(strict_json(value), indent=2, allow_nan=False)


def _side(side: Side, run: Run) -> dict[str, Any]:
    told = {
        "name": side.name,
        "run_dir": str(run.run_dir.path),
        "config": run.config_name,
        "status": run.status,
        "git": run.env.get("git"),
        "problems": [asdict(problem) for problem in run.metrics.problems],
    }
    return told if run.log is None else {**told, "log": _log(run, run.log)}


def _log(run: Run, log: Log) -> dict[str, Any]:
    """Return all that a log tells, but its columns; of those, the last of each series."""
    return {
        "format": log.format,
        "num_records": len(log.rows),
        "facts": run.env,
        "arguments": log.arguments,
        "parameters": log.parameters,
        "memory": [asdict(memory) for memory in log.memory],
        "waits": [asdict(wait) for wait in log.waits],
        "timers_milliseconds": log.timers,
        "trace": [list(event) for event in log.trace],
        "repairs": log.repairs,
        "notes": log.notes,
        "num_not_understood": log.num_not_understood,
        "not_understood": log.not_understood,
        "failure": log.failure,
        "quanta": dict(run.quanta),
        "metrics": {
            key: {
                "steps": len(series),
                "first_step": int(series.steps[0]),
                "last_step": int(series.steps[-1]),
                "first": float(series.values[0]),
                "last": float(series.values[-1]),
            }
            for key, series in run.metrics.numbers.items()
        },
    }
