"""One dry run: a config on a hardware, planned, and compiled where that is asked for."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from axl_exp.dryrun.compiled.compile import Progress, compile_dry_run
from axl_exp.dryrun.compiled.facts import CompiledFacts
from axl_exp.dryrun.facts import PlanFacts, to_json
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.resolve import Resolved

Level = Literal["plan", "compile"]
LEVELS: tuple[Level, ...] = ("plan", "compile")


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What is known of a config on a hardware."""

    config: str
    selector: str
    rule: str
    """Where the mesh rule stands."""
    plan: PlanFacts
    compiled: CompiledFacts | None = None
    """None where nothing was compiled."""

    @property
    def fits(self) -> bool:
        """The compiler's verdict where there is one, else the plan's."""
        planned, compiled = self.plan.memory, self.compiled
        if compiled is None:
            return planned.fits
        return compiled.fits and planned.host_holds(compiled.memory.host_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {
            "config": self.config,
            "selector": self.selector,
            "rule": self.rule,
            "fits": self.fits,
            "plan": {
                **to_json(self.plan),
                "fits": self.plan.memory.fits,
                "headroom_bytes": self.plan.memory.headroom_bytes,
            },
            "compiled": None if self.compiled is None else self.compiled.to_json(),
        }


def dry_run(
    resolved: Resolved, *, level: Level = "plan", progress: Progress | None = None
) -> DryRun:
    """Return the dry run of a config that is resolved for a hardware.

    Args:
        resolved: What `resolve` made of a name and a selector.
        level: "plan" traces the step; "compile" also gives it to the compiler of the hardware.
        progress: Told the stage and the seconds so far while the compiler is at work.

    Raises:
        UserError: Something does not divide, or the compiler is not installed.
    """
    plan = plan_dry_run(resolved)
    return DryRun(
        config=resolved.name,
        selector=str(resolved.hardware),
        rule=resolved.rule.defined_at if resolved.rule else "",
        plan=plan,
        compiled=compile_dry_run(resolved, progress=progress) if level == "compile" else None,
    )
