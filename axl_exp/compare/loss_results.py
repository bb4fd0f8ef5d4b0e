"""Verdicts on losses: of the training's tail, and of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from axl_exp.compare.align import Paired, pair, parting
from axl_exp.compare.figures import (
    EVAL_KEY,
    MIN_TAIL_STEPS,
    TAIL_SHARE,
    TRAIN_LOSS,
    num_tail_steps,
)
from axl_exp.compare.floors import Floors
from axl_exp.compare.judge import judge
from axl_exp.compare.load import Run
from axl_exp.compare.losses import coarser_quantum, identical_told
from axl_exp.compare.repeats import Equivalence
from axl_exp.compare.statistics import Interval
from axl_exp.compare.validity import incomparable_loss, incomparable_tokens
from axl_exp.compare.verdict import Better, MetricResult, State

# Not measured: by how much the losses of two runs that differ in nothing but rounding are taken to
# differ, relative to the loss. Stands in as long as no repeated runs of several seeds are stored.
ASSUMED_LOSS_FLOOR = 0.005


def loss_results(
    a: Sequence[Run], b: Sequence[Run], *, floors: Floors, margin: float | None
) -> list[MetricResult]:
    """Return the result for the training loss, and those for every evaluation; sides of repeats."""
    found = []
    if _either_has(TRAIN_LOSS, a, b):
        found.append(_train_result(a, b, floors=floors, margin=margin))
    keys = sorted(
        {key for run in (a[0], b[0]) for key in run.metrics.numbers if EVAL_KEY.fullmatch(key)},
        key=_eval_order,
    )
    return found + [_eval_result(key, a, b, floors=floors, margin=margin) for key in keys]


def _train_result(
    a: Sequence[Run], b: Sequence[Run], *, floors: Floors, margin: float | None
) -> MetricResult:
    steps, values_a, values_b = _at_common_steps(TRAIN_LOSS, a, b)
    num_tail = num_tail_steps(len(steps))
    steps, tails_a, tails_b = steps[-num_tail:], values_a[:, -num_tail:], values_b[:, -num_tail:]
    with np.errstate(invalid="ignore"):  # inf and -inf have no mean.
        runs_a, runs_b = (
            tuple(tail.mean(axis=1).tolist()) if len(steps) else () for tail in (tails_a, tails_b)
        )
    result = MetricResult(
        name="training loss, tail",
        key=TRAIN_LOSS,
        figure=TRAIN_LOSS,
        better=Better.LOWER,
        a=float(np.mean(runs_a)) if len(steps) else None,
        b=float(np.mean(runs_b)) if len(steps) else None,
        state=State.NOT_COMPARABLE,
        reason=_missing(TRAIN_LOSS, a, b, len(steps)) or _first(incomparable_loss, a, b),
        window=f"steps {steps[0]}-{steps[-1]}, {len(steps)} paired" if len(steps) else "none",
        formula=f"mean of {TRAIN_LOSS} over the last {100 * TAIL_SHARE:.0f} % of the paired "
        f"steps, {MIN_TAIL_STEPS} or more",
        a_runs=runs_a,
        b_runs=runs_b,
    )
    if result.reason:
        return result
    quantum = coarser_quantum(TRAIN_LOSS, a[0], b[0])
    if (paired := _all_equal(TRAIN_LOSS, a, b)) is not None:
        told = f"{identical_told(quantum)} at all {len(paired)} paired steps"
        return _identical(result, told, margin=margin)
    if len(steps) < MIN_TAIL_STEPS:
        told = f"too few paired steps: {len(steps)}, {MIN_TAIL_STEPS} needed"
        return replace(result, reason=told)
    spread = None
    if len(a) == len(b) == 1:
        with np.errstate(invalid="ignore"):
            spread = 2 * float(np.std(tails_b[0] - tails_a[0], ddof=1))
    floor = floors.floor(TRAIN_LOSS, assumed=ASSUMED_LOSS_FLOOR, by_seed=True)
    one_seed = not _has_seeds(a, b)
    return _judge(
        result, spread=spread, quantum=quantum, floor=floor, margin=margin, one_seed=one_seed
    )


def _judge(result: MetricResult, *, spread, quantum, floor, margin, one_seed) -> MetricResult:
    """Give the verdict on a loss that differs: beyond its spread and beyond the floor is real.

    Args:
        result: With both values.
        spread: Two standard deviations of the paired differences; None where there are none.
        quantum: The unit of the last digit that was printed; 0 for raw floats.
        one_seed: Whether repeats have one seed: then they do not tell how far another would fall.
    """
    a, b = result.a, result.b
    assert a is not None and b is not None
    if not np.isfinite([*result.a_runs, *result.b_runs]).all():
        return _not_finite(result, a, b)
    apart = abs(b - a)
    told = f"apart by {apart:.3g}"
    if quantum:
        told += f" ({apart / quantum:.1f} print quanta of {quantum:g})"
        if apart <= quantum:
            return replace(result, state=State.WITHIN_NOISE, reason=f"{told}: within one")
    if spread is not None:
        told += f", paired differences spread {spread:.3g} (2 sd)"
    if spread is not None and apart <= spread:
        return replace(result, state=State.WITHIN_NOISE, reason=told, floor=floor)
    if result.relative is None:
        return replace(result, reason=f"{told}: A is 0, so there is no relative change")
    return judge(result, floor=floor, margin=margin, told=f"{told}; ", needs_floor=one_seed)


def _not_finite(result: MetricResult, a: float, b: float) -> MetricResult:
    if np.isfinite(a) == np.isfinite(b):
        return replace(result, reason=f"not finite on either side: {a} and {b}")
    state = State.BETTER if np.isfinite(b) else State.WORSE
    return replace(result, state=state, reason=f"not finite in {'A' if np.isfinite(b) else 'B'}")


def _identical(result: MetricResult, told: str, *, margin: float | None) -> MetricResult:
    shown = margin and Equivalence(margin, Interval(0.0, 0.0), True, "identical")
    return replace(result, state=State.WITHIN_NOISE, reason=told, equivalence=shown or None)


def _eval_result(
    key: str, a: Sequence[Run], b: Sequence[Run], *, floors: Floors, margin: float | None
) -> MetricResult:
    """Return the result at the last evaluation that all runs made at the same step.

    Perplexity and bits per byte say the same as the loss, so the verdict is that on the loss.
    """
    match = EVAL_KEY.fullmatch(key)
    assert match is not None
    name, quantity = match["name"], match["quantity"]
    steps, values_a, values_b = _at_common_steps(key, a, b)
    runs_a, runs_b = (tuple(v[:, -1].tolist()) if len(steps) else () for v in (values_a, values_b))
    result = MetricResult(
        name=f"{name} {quantity.replace('_', ' ')}",
        key=key,
        figure=key,
        better=Better.LOWER,
        a=float(np.mean(runs_a)) if len(steps) else None,
        b=float(np.mean(runs_b)) if len(steps) else None,
        state=State.NOT_COMPARABLE,
        reason=_missing(key, a, b, len(steps)) or _why_not(name, quantity, a, b),
        window=f"evaluation at step {steps[-1]}" if len(steps) else "none",
        formula=f"{key} at the last step at which both runs evaluated",
        a_runs=runs_a,
        b_runs=runs_b,
    )
    if result.reason:
        return result
    if (paired := _all_equal(key, a, b)) is not None:
        told = f"identical to the bit at all {len(paired)} paired evaluations"
        return _identical(result, told, margin=margin)
    loss_key = f"eval/{name}/loss"
    says_the_loss = quantity != "loss" and _either_has(loss_key, a, b)
    if says_the_loss and not _first(incomparable_tokens, a, b):
        loss = _eval_result(loss_key, a, b, floors=floors, margin=margin)
        return replace(result, state=loss.state, reason=f"as {loss.name}", follows=loss_key)
    floor = floors.floor(key, assumed=ASSUMED_LOSS_FLOOR, by_seed=True)
    return _judge(
        result,
        spread=None,
        quantum=coarser_quantum(key, a[0], b[0]),
        floor=floor,
        margin=margin,
        one_seed=not _has_seeds(a, b),
    )


def _at_common_steps(
    key: str, a: Sequence[Run], b: Sequence[Run]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps at which every run has `key`, and its values there: one row per run."""
    series = [run.metrics.numbers.get(key) for run in (*a, *b)]
    known = [s for s in series if s is not None]
    nothing = np.array([], dtype=np.int64)
    if len(known) < len(series):
        return nothing, np.empty((len(a), 0)), np.empty((len(b), 0))
    steps = known[0].steps
    for other in known[1:]:
        steps = np.intersect1d(steps, other.steps, assume_unique=True)
    values = np.array([s.values[np.searchsorted(s.steps, steps)] for s in known])
    return steps, values[: len(a)], values[len(a) :]


def _all_equal(key: str, a: Sequence[Run], b: Sequence[Run]) -> Paired | None:
    """Return the first runs' pairs where every run has the same values to the bit; else None."""
    first = a[0].metrics.numbers.get(key)
    pairs = [pair(first, run.metrics.numbers.get(key)) for run in (*a[1:], *b)]
    return pairs[-1] if all(parting(paired) is None for paired in pairs) else None


def _has_seeds(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """Return whether the repeats of each side have seeds of their own."""
    return all(len({str(run.env.get("seed")) for run in side}) == len(side) for side in (a, b))


def _either_has(key: str, a: Sequence[Run], b: Sequence[Run]) -> bool:
    return any(key in run.metrics.numbers for run in (*a, *b))


def _missing(key: str, a: Sequence[Run], b: Sequence[Run], num_steps: int) -> str:
    for name, runs in (("A", a), ("B", b)):
        if any(key not in run.metrics.numbers for run in runs):
            return f"{name} has no {key}"
    return "" if num_steps else f"no step at which both have {key}"


def _first(why_not, a: Sequence[Run], b: Sequence[Run]) -> str:
    """Return the first reason that `why_not` gives for a run beside A's first; empty for none."""
    return next(filter(None, (why_not(a[0], run) for run in (*a[1:], *b))), "")


def _why_not(name: str, quantity: str, a: Sequence[Run], b: Sequence[Run]) -> str:
    """Return why the evaluations `name` cannot be compared; empty where they can.

    Bits per byte compare across vocabularies, which the number of targets does not.
    """
    if reason := _first(incomparable_tokens, a, b):
        return "" if quantity == "bits_per_byte" else reason
    key = f"eval/{name}/num_targets"
    for run in (*a[1:], *b):
        paired = pair(a[0].metrics.numbers.get(key), run.metrics.numbers.get(key))
        if len(paired) and paired.a[-1] != paired.b[-1]:
            return f"evaluated on {paired.a[-1]:,.0f} targets in A and {paired.b[-1]:,.0f} in B"
    return ""


def _eval_order(key: str) -> tuple[str, int]:
    match = EVAL_KEY.fullmatch(key)
    assert match is not None
    return match["name"], ("loss", "perplexity", "bits_per_byte").index(match["quantity"])
