"""What the dry run says of a launch, to be held against what is measured."""

from __future__ import annotations

from typing import Any

from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.resolve import Resolved


def predict(resolved: Resolved) -> dict[str, Any]:
    """Return `dry_run` of summary.json as far as it is known before the run: the plan's figures.

    `step_seconds` is the least that a step takes; it is missing where the chip has no peak (a CPU).
    """
    try:
        plan = plan_dry_run(resolved)
    except Exception as error:  # Whatever it is that a plan cannot read, the run itself can go on.
        return {"error": f"{type(error).__name__}: {error}"}
    predicted: dict[str, Any] = {"memory_bytes": plan.memory.total_bytes}
    if plan.roofline is not None:
        predicted["step_seconds"] = plan.roofline.step_seconds
        predicted["bound_by"] = plan.roofline.bound_by
    return predicted
