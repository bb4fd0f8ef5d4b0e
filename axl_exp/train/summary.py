"""How a run went, in the numbers that people ask for first."""

import collections
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
_STEPS = "steps"


def summarise(
    result: LoopResult,
    *,
    trainer: SpmdTrainer,
    plan: Plan,
    status: str,
    before: Mapping[str, float],
    earlier: Mapping[str, Any],
    dry_run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what summary.json holds.

    It is of the whole run, resumed ones too. Step times are of steady steps alone (`window` says
    which), tokens per second follow from their median. `seconds` accounts for the wall time: steps
    by class, evaluation, checkpoints, startup, compilation, and the host's own time between steps;
    of a launch that was killed, it has the steps alone.

    Args:
        result: How this launch ended, with the steps of all.
        before: Seconds of what came before its steps.
        earlier: The summary that the launch before left; {} if there is none.
        dry_run: What was predicted, as `run_session` takes it.
    """
    history = result.history
    losses = history.losses
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "status": status,
        "step": result.step,
        "steps_this_session": result.step - result.first_step + 1,
        "first_loss": float(losses[0]) if len(losses) else None,
        "last_loss": float(losses[-1]) if len(losses) else None,
        "evals": {**earlier.get("evals", {}), **result.evals},
        "saved_step": result.saved_step,
        "seconds": _seconds(result, before=before, earlier=earlier.get("seconds", {})),
        "num_params": plan.num_params,
        "flop_formula": plan.flop_formula,
        "peak_memory_bytes": peak_memory_bytes(trainer.devices),
        "planned_memory_bytes": plan.memory.needed_bytes,
        "available_memory_bytes": plan.available_bytes,
    }
    steady = history.classes == STEADY
    if steady.any():
        steps, times = history.steps[steady], history.seconds[steady]
        p50 = float(np.median(times))
        flops = plan.flops_per_token.causal * plan.tokens_per_step / plan.num_devices / p50
        summary |= {
            "window": [int(steps[0]), int(steps[-1]), len(steps)],
            "step_seconds_p50": p50,
            "step_seconds_p95": float(np.quantile(times, 0.95)),
            "tokens_per_second": plan.tokens_per_step / p50,
            "tflops_per_device": flops / 1e12,
            "data_wait_share": float(history.data_wait_seconds[steady].sum() / times.sum()),
        }
        if trainer.peak_flops_per_second is not None:
            summary["mfu"] = flops / trainer.peak_flops_per_second
    if dry_run:
        platform = trainer.devices[0].platform
        summary["dry_run"] = against_dry_run(dry_run, summary, plan=plan, platform=platform)
    return summary


def against_dry_run(
    predicted: Mapping[str, Any], summary: Mapping[str, Any], *, plan: Plan, platform: str
) -> dict[str, Any]:
    """Return the prediction and what was measured over it.

    A host's peak is the whole process's, so that there memory is the compiler's count for a device.
    Over several devices of one host no ratio is told: XLA's CPU backend gathers the weights of all
    layers before the first, and sums gradients whole, which no plan for accelerators does.
    """
    found = {**predicted, "compiled_memory_bytes": plan.memory.compiled_bytes}
    peak = plan.memory.compiled_bytes if platform == "cpu" else summary["peak_memory_bytes"]
    is_planned = platform != "cpu" or plan.num_devices == 1
    if peak and predicted.get("memory_bytes") and is_planned:
        found["memory_ratio"] = peak / predicted["memory_bytes"]
        found["memory_measured_by"] = "compiler" if platform == "cpu" else "device"
    if predicted.get("step_seconds") and "step_seconds_p50" in summary:
        found["step_ratio"] = summary["step_seconds_p50"] / predicted["step_seconds"]
    return found


def _seconds(
    result: LoopResult, *, before: Mapping[str, float], earlier: Mapping[str, float]
) -> dict[str, float]:
    history = result.history
    steps = {
        f"{_STEPS} ({name})": float(history.seconds[history.classes == name].sum())
        for name in sorted(set(history.classes))
    }
    others: collections.Counter[str] = collections.Counter()
    for seconds in (before, result.seconds, earlier):
        others.update({k: v for k, v in seconds.items() if not k.startswith(_STEPS)})
    return {**steps, **others}


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
