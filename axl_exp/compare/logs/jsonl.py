"""Metrics as JSON lines: ours, MaxText's `metrics_file`, and lines of bare names as `loss`."""

from __future__ import annotations

import json
from pathlib import Path

from axl_exp.run.metrics_reader import Metrics, read_metrics

_MAX_LINE = 1 << 20
_SAMPLE_LINES = 20
# MaxText's names -> ours. Its seconds are those of the host, as in its log.
_NAMES = {
    "learning/loss": "train/loss",
    "learning/lm_loss": "train/lm_loss",
    "learning/perplexity": "train/perplexity",
    "learning/grad_norm": "train/gradient_norm",
    "learning/current_learning_rate": "train/learning_rate",
    "learning/total_weights": "train/num_targets",
    "learning/moe_lb_loss": "train/moe_load_balance_loss",
    "perf/step_time_seconds": "perf/step_seconds",
    "perf/per_device_tflops_per_sec": "perf/tflops_per_device",
    "perf/per_device_tokens_per_sec": "printed/tokens_per_second_per_device",
    "eval/avg_loss": "eval/eval/loss",
    "eval/avg_perplexity": "eval/eval/perplexity",
    "loss": "train/loss",
    "train_loss": "train/loss",
    "grad_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "lr": "train/learning_rate",
    "eval_loss": "eval/validation/loss",
}


def is_metrics_file(path: Path) -> bool:
    """Return whether the file holds JSON objects, one per line, that tell steps or our schema."""
    try:
        with open(path, "rb") as file:
            lines = [file.readline(_MAX_LINE) for _ in range(_SAMPLE_LINES)]
    except OSError:
        return False
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and ("step" in record or "schema" in record):
            return True
    return False


def read_any_metrics(path: Path) -> Metrics:
    """Return the columns of a metrics file, under our names.

    Raises:
        MetricsError: As `read_metrics`.
    """
    metrics = read_metrics(path)
    named = {_NAMES[key]: series for key, series in metrics.numbers.items() if key in _NAMES}
    rest = {key: series for key, series in metrics.numbers.items() if key not in _NAMES}
    metrics.numbers = named | rest  # What has our name already is what it says.
    return metrics
