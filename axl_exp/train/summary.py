"""How a session went, in the numbers that people ask for first."""

import contextlib
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from axl_exp.train.clock import STEADY
from axl_exp.train.devices import Devices
from axl_exp.train.loop import LoopResult
from axl_exp.train.plan import Plan
from axl_exp.train.trainer import SpmdTrainer

SCHEMA = "axl_exp.summary/1"
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"


def summarise(
    result: LoopResult,
    *,
    trainer: SpmdTrainer,
    plan: Plan,
    status: str,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return what summary.json holds.

    Step times are of steady steps alone (`window` says which), tokens per second follow from their
    median. `seconds` accounts for the whole wall time of this session: steps by class, evaluation,
    checkpoints, startup, compilation, and the host's own time between steps.
    """
    losses = {r["step"]: r["train/loss"] for r in result.steps}
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "status": status,
        "step": result.step,
        "steps_this_session": len(result.steps),
        "first_loss": losses[min(losses)] if losses else None,
        "last_loss": losses[max(losses)] if losses else None,
        "evals": result.evals,
        "saved_step": result.saved_step,
        "seconds": {**seconds, **_seconds_by_kind(result)},
        "flop_formula": plan.flop_formula,
        "peak_memory_bytes": peak_memory_bytes(trainer.devices),
        "planned_memory_bytes": plan.memory.needed_bytes,
    }
    steady = [r for r in result.steps if r["time/class"] == STEADY]
    if steady:
        times = np.array([r["perf/step_seconds"] for r in steady])
        p50 = float(np.median(times))
        flops = plan.flops_per_token.causal * plan.tokens_per_step / plan.num_devices / p50
        summary |= {
            "window": [steady[0]["step"], steady[-1]["step"], len(steady)],
            "step_seconds_p50": p50,
            "step_seconds_p95": float(np.quantile(times, 0.95)),
            "tokens_per_second": plan.tokens_per_step / p50,
            "tflops_per_device": flops / 1e12,
            "data_wait_share": sum(r["time/data_wait_seconds"] for r in steady) / times.sum(),
        }
        if trainer.peak_flops_per_second is not None:
            summary["mfu"] = flops / trainer.peak_flops_per_second
    return summary


def _seconds_by_kind(result: LoopResult) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for record in result.steps:
        kind = f"steps ({record['time/class']})"
        kinds[kind] = kinds.get(kind, 0.0) + record["perf/step_seconds"]
    others = {name: value for name, value in result.seconds.items() if name != "steps"}
    return {**kinds, **others}


def reset_peak_memory() -> None:
    """Forget this process's peak of resident memory, so that compiling does not count as training.

    Linux only; elsewhere the peak is that of the whole process.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(devices: Devices) -> int | None:
    """Return the peak of a device's memory; on a CPU, of this process's resident memory."""
    if devices[0].platform != "cpu":
        return (devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
