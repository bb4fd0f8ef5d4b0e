"""Physical checks: figures that cannot be, whoever printed them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from axl_exp.compare.align import pair_pieces
from axl_exp.compare.load import Run
from axl_exp.compare.validity import hardware
from axl_exp.mesh.hardware import CHIPS

_TERA = 1e12
_MAX_TOLD = 5
_FIRST_STEPS = 2  # Both of them at most: the loss of a model that has learnt nothing.
_MAX_NATS_FROM_UNIFORM = 1.0  # Chosen: initial logits of some spread cost a fraction of a nat.
_MEMORY_WITHIN = 0.15  # What a plan is held to.
_VOCABULARY = re.compile(r"\w+\[(?P<vocab>\d+), ?\d+\]")
_EMBEDDING = re.compile(r"token_emb/weight|embedder.*embedding")


@dataclass(frozen=True)
class Check:
    """One check of one side: whether it holds, and with which numbers."""

    side: str
    what: str
    holds: bool
    told: str


def physical_checks(side: str, run: Run) -> list[Check]:
    """Return every check that can be made of `run`."""
    found = [_peak(side, run), _tokens(side, run), _perplexity(side, run), _first_loss(side, run)]
    found += [_planned_step(side, run), _planned_memory(side, run)]
    return [check for check in found if check is not None]


def _peak(side: str, run: Run) -> Check | None:
    kind = hardware(run).get("device_kind")
    chip = next((chip for chip in CHIPS if kind in chip.device_kinds), None)
    numbers = run.metrics.numbers
    series = numbers.get("printed/tflops_per_device") or numbers.get("perf/tflops_per_device")
    if chip is None or series is None:
        return None
    peak = chip.peak_flops_per_second / _TERA
    steps, values = series.steps, series.values
    over = np.flatnonzero(values > peak)
    what = f"TFLOP/s per device at most {peak:g}, the bfloat16 peak of {kind}"
    if not len(over):
        told = f"highest {np.nanmax(values):.1f}"
    else:
        told = "impossible: " + _some(
            [
                f"{values[i]:.1f} at step {steps[i]}{_seconds_at(run, int(steps[i]))}"
                for i in over[:_MAX_TOLD]
            ],
            of=len(over),
        )
    return Check(side, what, not len(over), told)


def _seconds_at(run: Run, step: int) -> str:
    """Return the printed seconds of a step in words, where they tell why it looks so fast."""
    seconds = run.metrics.numbers.get("printed/seconds")
    told = np.nan if seconds is None else float(seconds.at([step])[0])
    return "" if np.isnan(told) else f" ({told:g} s: the host drained its queue)"


def _tokens(side: str, run: Run) -> Check | None:
    numbers = run.metrics.numbers
    rate = numbers.get("printed/tokens_per_second_per_device")
    seconds, targets = numbers.get("printed/seconds"), numbers.get("train/num_targets")
    if rate is None or seconds is None or targets is None:
        return None
    told = run.env.get("tokens_per_step")
    if not told:
        return None
    most = float(np.nanmax(targets.values))
    what = "tokens/s times step time is the tokens of a step"
    numbers_told = f"{told:,} from the rates, {most:,.0f} weights counted"
    return Check(side, what, most <= told * 1.001, numbers_told)


def _perplexity(side: str, run: Run) -> Check | None:
    numbers = run.metrics.numbers
    loss = numbers.get("train/lm_loss") or numbers.get("train/loss")
    perplexity = numbers.get("train/perplexity")
    if loss is None or perplexity is None:
        return None
    unit = max(run.quanta.get("train/lm_loss", 0.0), run.quanta.get("train/loss", 0.0), 1e-6)
    largest, bad, num_bad = -1.0, [], 0
    for paired in pair_pieces(loss, perplexity):
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.abs(np.log(paired.b) - paired.a)
        known = np.isfinite(apart)
        largest = max(largest, float(apart[known].max(initial=-1.0)))
        beyond = np.flatnonzero(known & (apart > unit))
        num_bad += len(beyond)
        for k in beyond[: _MAX_TOLD - len(bad)]:
            bad.append(f"step {paired.steps[k]} by {apart[k]:.3g}")
    if largest < 0:
        return None
    told = f"not so: {_some(bad, of=num_bad)}" if bad else f"largest difference {largest:.2g}"
    return Check(side, "perplexity is exp(loss)", not bad, told)


def _first_loss(side: str, run: Run) -> Check | None:
    loss, vocab = run.metrics.numbers.get("train/loss"), _vocabulary_size(run)
    if loss is None or not vocab or not len(loss) or loss.steps[0] >= _FIRST_STEPS:
        return None
    first, uniform = float(loss.values[0]), math.log(vocab)
    holds = abs(first - uniform) <= _MAX_NATS_FROM_UNIFORM
    told = f"{first:g} at step {loss.steps[0]}, ln({vocab}) = {uniform:.3f}"
    return Check(side, "the first loss is near ln(vocabulary)", holds, told)


def _planned_step(side: str, run: Run) -> Check | None:
    dry_run = run.summary.get("dry_run") or {}
    ratio, least = dry_run.get("step_ratio"), dry_run.get("step_seconds")
    if ratio is None or least is None:
        return None
    what = "no step is shorter than its dry run, everything at its peak"
    told = f"measured / predicted {ratio:.2f}: {ratio * least:.4g} s, {least:.4g} s at the least"
    return Check(side, what, ratio >= 1, told)


def _planned_memory(side: str, run: Run) -> Check | None:
    dry_run = run.summary.get("dry_run") or {}
    ratio, by = dry_run.get("memory_ratio"), dry_run.get("memory_measured_by")
    if ratio is None:
        return None
    what = f"memory by the {by} is within {100 * _MEMORY_WITHIN:.0f} % of its dry run"
    told = f"measured / predicted {ratio:.2f}: planned {dry_run['memory_bytes'] / 2**30:.3g} GiB"
    return Check(side, what, abs(ratio - 1) <= _MEMORY_WITHIN, told)


def _vocabulary_size(run: Run) -> int | None:
    """Return the rows of the embedding; None where the shapes of parameters are not told."""
    if run.log is not None and isinstance(vocab := run.log.facts.get("vocab_size"), int):
        return vocab
    for path, told in run.parameters.items():
        match = _VOCABULARY.fullmatch(told.get("shape", ""))
        if _EMBEDDING.search(path) and match:
            return int(match["vocab"])
    return None


def _some(told: Sequence[str], *, of: int) -> str:
    """Return the first few of `of` findings in words."""
    return ", ".join(told) + (f" and {of - len(told)} more" if of > len(told) else "")
