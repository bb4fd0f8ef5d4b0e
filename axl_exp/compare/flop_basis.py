"""FLOP/s that two formulas count, on one basis.

Formulas count the same work differently: causal or full attention alone changes a model of 8B
parameters at 8,192 tokens from 51.5 to 57.9 GFLOP per token. What one formula counts per token is
a constant of the model and its sequence length, so for one model B's rate is recomputed by A's.
"""

from __future__ import annotations

import numpy as np

from axl_exp.compare.config_changes import config_changes
from axl_exp.compare.figures import SpeedFigure, steady_values
from axl_exp.compare.load import Run

_TOKENS = "perf/tokens_per_second"
# Leaves that say how much work a token is.
_WORK = ("model.", "input.max_sequence_length", "input.seq")


def incomparable_flops(a: Run, b: Run) -> str:
    """Return why rates by FLOPs cannot be compared; empty where they can, on one basis."""
    formulas = [run.env.get("flop_formula") for run in (a, b)]
    if formulas[0] == formulas[1] or _is_one_model(a, b):
        return ""
    return (
        f"FLOP formula differs: {formulas[0]} in A, {formulas[1]} in B, and the configs do not "
        "show one model, so they cannot be recomputed on one basis"
    )


def on_one_basis(metric: SpeedFigure, a: Run, b: Run) -> float | None:
    """Return what B's rate is multiplied with to be by A's formula; None for formulas alike.

    The ratio of what both count per token: of the rates' medians to the tokens per second.
    """
    if a.env.get("flop_formula") == b.env.get("flop_formula") or not _is_one_model(a, b):
        return None
    per_token = [
        _median(run, metric.key) / tokens if (tokens := _median(run, _TOKENS)) else 0.0
        for run in (a, b)
    ]
    return per_token[0] / per_token[1] if all(per_token) else None


def _median(run: Run, key: str) -> float:
    values = steady_values(run, key)
    return float(np.median(values)) if len(values) else 0.0


def _is_one_model(a: Run, b: Run) -> bool:
    if a.config is None or b.config is None or _TOKENS not in a.metrics.numbers:
        return False
    changed = [change.path for change in config_changes(a.config, b.config)]
    return _TOKENS in b.metrics.numbers and not any(p.startswith(_WORK) for p in changed)
