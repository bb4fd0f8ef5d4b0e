"""FLOP/s that two formulas count, on one basis.

Formulas count the same work differently: causal or full attention alone changes a model of 8B
parameters at 8,192 tokens from 51.5 to 57.9 GFLOP per token. Where both sides state their sizes,
both rates are recomputed by our own formula. Else, for one model, what a formula counts per token
is a constant, so that B's rate can be recomputed by A's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from axl_exp.compare.config_changes import config_changes
from axl_exp.compare.figures import SpeedFigure, steady_values
from axl_exp.compare.load import Run
from axl_exp.compare.model_work import FORMULA, ModelWork, work_of
from axl_exp.compare.validity import hardware

_TOKENS = "perf/tokens_per_second"
_SECONDS = "perf/step_seconds"
# Leaves that say how much work a token is.
_WORK = ("model.", "input.max_sequence_length", "input.seq")
_SAME = 0.005  # Printed FLOPs of a step have four digits; causal and full differ by more.


@dataclass(frozen=True)
class Basis:
    """What both rates are multiplied with to be of one formula, and that in words."""

    a: float
    b: float
    told: str


def formula_of(run: Run) -> str | None:
    """Return the name of the formula that a run's rates are by; None where nothing is known.

    A trainer that prints no name has its own. MaxText counted full attention before it counted
    causal attention: where its log states the sizes, they tell which.
    """
    told = run.env.get("flop_formula")
    if run.log is None:
        return None if told is None else str(told)
    name = str(told or f"{run.log.format}'s own")
    work, printed = work_of(run.log), _printed_per_token(run)
    if work is None or not printed:
        return name
    for kind, per_token in (("causal", work.causal), ("full", work.full)):
        if abs(printed / per_token - 1) < _SAME:
            return f"{name}, {kind} attention"
    return name


def incomparable_flops(metric: SpeedFigure, a: Run, b: Run) -> str:
    """Return why rates by FLOPs cannot be compared; empty where they can, on one basis."""
    formulas = [formula_of(run) for run in (a, b)]
    if formulas[0] == formulas[1] or on_one_basis(metric, a, b) is not None:
        return ""
    return (
        f"FLOP formula differs: {formulas[0]} in A, {formulas[1]} in B; the configs do not show "
        "one model, nor do both sides state their sizes, so they cannot be recomputed on one basis"
    )


def on_one_basis(metric: SpeedFigure, a: Run, b: Run) -> Basis | None:
    """Return what brings the rates to one basis; None for formulas alike, or where nothing does."""
    formulas = [formula_of(run) for run in (a, b)]
    if formulas[0] == formulas[1]:
        return None
    ours = [_factor_to_ours(metric, run) for run in (a, b)]
    if ours[0] and ours[1]:
        factors = " and ".join(f"x {factor:.4g}" for factor in ours)
        return Basis(ours[0], ours[1], f"; both recomputed by {FORMULA} from the sizes: {factors}")
    if not _is_one_model(a, b):
        return None
    counted = [
        _median(run, metric.key) / tokens if (tokens := _median(run, _TOKENS)) else 0.0
        for run in (a, b)
    ]
    if not all(counted):
        return None
    factor = counted[0] / counted[1]
    return Basis(1.0, factor, f"; B's recomputed by A's formula {formulas[0]}, x {factor:.4g}")


def _factor_to_ours(metric: SpeedFigure, run: Run) -> float:
    """Return what a run's rates are multiplied with to be by our formula; 0 where it is unknown."""
    if run.env.get("flop_formula") == FORMULA:
        return 1.0
    work = None if run.log is None else work_of(run.log)
    counted = _median(run, metric.key) * 1e12 * _median(run, _SECONDS)  # Of a step and device.
    tokens = _tokens_per_device(run, work)
    return work.causal * tokens / counted if work and counted else 0.0


def _printed_per_token(run: Run) -> float:
    """Return the operations per token that a log prints; 0 where it does not."""
    assert run.log is not None
    printed = run.log.facts.get("tflops_per_step")  # Of one device.
    tokens = _tokens_per_device(run, work_of(run.log))
    return printed * 1e12 / tokens if printed and tokens else 0.0


def _tokens_per_device(run: Run, work: ModelWork | None) -> float:
    """Return the tokens of a step on one device; 0 where that is unknown."""
    told, count = run.env.get("tokens_per_step"), hardware(run).get("device_count")
    if told and count:
        return told / count
    try:
        batch = float(run.log.arguments["per_device_batch_size"]) if run.log else 0.0
    except (KeyError, ValueError):
        return 0.0
    return batch * work.sequence_length if work else 0.0


def _median(run: Run, key: str) -> float:
    values = steady_values(run, key)
    return float(np.median(values)) if len(values) else 0.0


def _is_one_model(a: Run, b: Run) -> bool:
    if a.config is None or b.config is None or _TOKENS not in a.metrics.numbers:
        return False
    changed = [change.path for change in config_changes(a.config, b.config)]
    return _TOKENS in b.metrics.numbers and not any(p.startswith(_WORK) for p in changed)
