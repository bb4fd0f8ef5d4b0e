"""A comparison as JSON, for programs. The schema's number changes when a field changes meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.load import Run
from axl_exp.compare.logs.log import Log
from axl_exp.compare.sides import Side
from axl_exp.compare.verdict import MetricResult
from axl_exp.run.files import strict_json

SCHEMA = "axl_exp.compare/2"


def comparison_json(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as indented, strict JSON; non-finite numbers are strings.

    One comparison is one object; several (A against B, A against C) are a list under
    `comparisons`, each of the same fields.
    """
    told = [comparison_value(comparison) for comparison in comparisons]
    value = told[0] if len(told) == 1 else {"schema": SCHEMA, "comparisons": told}
    return json.dumps(strict_json(value), indent=2, allow_nan=False)


def comparison_value(comparison: Comparison) -> dict[str, Any]:
    """Return one comparison as plain dicts and lists: all of it but the columns of the runs."""
    c = comparison
    losses = asdict(c.losses)
    losses["identical"] = c.losses.identical
    losses["cause"] = c.losses.cause and {
        "class": c.losses.cause.name,
        "told": c.losses.cause.value,
    }
    return {
        "schema": SCHEMA,
        "verdict": asdict(c.verdict),
        "margin": c.margin,
        "a": _side(c.side_a, c.runs_a),
        "b": _side(c.side_b, c.runs_b),
        "notes": c.notes,
        "differences": [asdict(difference) for difference in c.differences],
        "metrics": [_metric(metric) for metric in c.metrics],
        "time": [asdict(use) for use in c.time],
        "losses": {**losses, "explanation": c.explanation},
        "explanations": [asdict(explanation) for explanation in c.explanations],
        "config": [asdict(change) for change in c.changes],
        "parameters": asdict(c.parameters),
        "checks": [asdict(check) for check in c.checks],
        "theirs": c.theirs
        and {
            **asdict(c.theirs),
            "figures": [{**asdict(f), "diff": f.diff} for f in c.theirs.figures],
        },
    }


def _metric(metric: MetricResult) -> dict[str, Any]:
    """Return one row of the table; `floor_relative` is that of so many runs on each side."""
    counts = len(metric.a_runs), len(metric.b_runs)
    floor = metric.floor and metric.floor.between(*counts) if min(counts) else None
    return {
        **asdict(metric),
        "delta": metric.delta,
        "relative": metric.relative,
        "floor_relative": floor,
    }


def _side(side: Side, runs: Sequence[Run]) -> dict[str, Any]:
    return {"name": side.name, "by_ref": side.by_ref, "runs": [_run(run) for run in runs]}


def _run(run: Run) -> dict[str, Any]:
    told = {
        "run_dir": str(run.run_dir.path),
        "config": run.config_name,
        "status": run.status,
        "seed": run.env.get("seed"),
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
        "results": log.results,
        "arguments": log.arguments,
        "parameters": log.parameters,
        "activations": log.activations,
        "memory": [asdict(memory) for memory in log.memory],
        "waits": [asdict(wait) for wait in log.waits],
        "timers_milliseconds": log.timers,
        "trace": [list(event) for event in log.trace],
        "repairs": log.repairs,
        "notes": [*log.notes, *log.column_notes],
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
