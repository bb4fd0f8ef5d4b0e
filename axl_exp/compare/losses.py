"""Verdicts on losses: paired by step, to the bit where they are equal, with their spread else."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from axl_exp.compare.align import Cause, Paired, Parting, cause, pair, parting
from axl_exp.compare.load import Run
from axl_exp.compare.validity import incomparable_loss, incomparable_tokens
from axl_exp.compare.verdict import Better, MetricResult, State, direction

TRAIN_LOSS = "train/loss"
# What is watched beside the loss to tell where a difference comes from, in the order of a step.
_WATCHED = (TRAIN_LOSS, "train/gradient_norm", "train/learning_rate", "train/num_targets")
_EVAL_KEY = re.compile(r"eval/(?P<name>.+)/(?P<quantity>loss|perplexity|bits_per_byte)")
_MIN_TAIL_STEPS = 10
_TAIL_SHARE = 0.1
# Not measured: by how much the losses of two runs that differ in nothing but rounding are taken to
# differ, relative to the loss. Stands in as long as no repeated runs of one commit are stored.
ASSUMED_LOSS_FLOOR = 0.005


@dataclass(frozen=True)
class LossComparison:
    """The training losses of two runs, step by step.

    Attributes:
        num_paired: Steps that both runs have.
        window: First and last of them.
        parting: Where they part; None where they never do.
        cause: What can have parted them there; None where they never do.
        first_apart: For each watched metric the first step at which it differs, None for never.
        share_higher: Of the paired steps that differ, the share at which B is higher.
        quantum: The unit of the last digit printed, where a side was printed; 0 where none was.
        quanta_apart: Least and most of the differences, in that unit; None where it is 0.
    """

    num_paired: int
    window: tuple[int, int] | None
    parting: Parting | None
    cause: Cause | None
    first_apart: dict[str, int | None]
    share_higher: float | None
    quantum: float = 0.0
    quanta_apart: tuple[int, int] | None = None

    @property
    def identical(self) -> bool:
        """Whether every paired step has the same loss, to the bit."""
        return self.num_paired > 0 and self.parting is None


def compare_losses(a: Run, b: Run) -> LossComparison:
    """Return how the training losses of `a` and `b` run together and apart."""
    series_a, series_b = (run.metrics.numbers.get(TRAIN_LOSS) for run in (a, b))
    paired = pair(series_a, series_b)
    parted = parting(paired)
    first_apart: dict[str, int | None] = {}
    for key in _WATCHED:
        watched = pair(a.metrics.numbers.get(key), b.metrics.numbers.get(key))
        if len(watched):
            at = parting(watched)
            first_apart[key] = at.step if at else None
    higher, lower = int((paired.b > paired.a).sum()), int((paired.b < paired.a).sum())
    return LossComparison(
        num_paired=len(paired),
        window=(int(paired.steps[0]), int(paired.steps[-1])) if len(paired) else None,
        parting=parted,
        cause=cause(parted, a=series_a, b=series_b) if parted and series_a and series_b else None,
        first_apart=first_apart,
        share_higher=higher / (higher + lower) if higher + lower else None,
        quantum=_quantum(TRAIN_LOSS, a, b),
        quanta_apart=_quanta_apart(paired, _quantum(TRAIN_LOSS, a, b)),
    )


def _quantum(key: str, a: Run, b: Run) -> float:
    """Return the coarser of the units in which the two sides print `key`; 0 for raw floats."""
    return max(run.quanta.get(key, 0.0) for run in (a, b))


def _quanta_apart(paired: Paired, quantum: float) -> tuple[int, int] | None:
    finite = np.isfinite(paired.a) & np.isfinite(paired.b)
    apart = np.abs(paired.b[finite] - paired.a[finite])
    if not quantum or not len(apart):
        return None
    return round(float(apart.min()) / quantum), round(float(apart.max()) / quantum)


def loss_results(a: Run, b: Run) -> list[MetricResult]:
    """Return the result for the training loss, and those for every evaluation of either run."""
    found = [_train_result(a, b)] if _either_has(TRAIN_LOSS, a, b) else []
    keys = sorted(
        {key for run in (a, b) for key in run.metrics.numbers if _EVAL_KEY.fullmatch(key)},
        key=_eval_order,
    )
    return found + [_eval_result(key, a, b) for key in keys]


def identical_told(quantum: float) -> str:
    """Return how far two equal values are known to be equal."""
    return f"identical as printed, to {quantum:g}," if quantum else "identical to the bit"


def _either_has(key: str, a: Run, b: Run) -> bool:
    return key in a.metrics.numbers or key in b.metrics.numbers


def _train_result(a: Run, b: Run) -> MetricResult:
    paired = pair(a.metrics.numbers.get(TRAIN_LOSS), b.metrics.numbers.get(TRAIN_LOSS))
    num_tail = max(_MIN_TAIL_STEPS, round(_TAIL_SHARE * len(paired)))
    tail = paired.tail(num_tail)
    result = MetricResult(
        name="training loss, tail",
        key=TRAIN_LOSS,
        better=Better.LOWER,
        a=float(tail.a.mean()) if len(tail) else None,
        b=float(tail.b.mean()) if len(tail) else None,
        state=State.NOT_COMPARABLE,
        reason=_missing(TRAIN_LOSS, a, b, paired) or incomparable_loss(a, b),
        window=f"steps {tail.steps[0]}-{tail.steps[-1]}, {len(tail)} paired"
        if len(tail)
        else "none",
        formula=f"mean of {TRAIN_LOSS} over the last {100 * _TAIL_SHARE:.0f} % of the paired "
        f"steps, {_MIN_TAIL_STEPS} or more",
    )
    if result.reason:
        return result
    if parting(paired) is None:
        told = f"{identical_told(_quantum(TRAIN_LOSS, a, b))} at all {len(paired)} paired steps"
        return replace(result, state=State.WITHIN_NOISE, reason=told)
    if len(tail) < _MIN_TAIL_STEPS:
        told = f"too few paired steps: {len(tail)}, {_MIN_TAIL_STEPS} needed"
        return replace(result, reason=told)
    spread = 2 * float(np.std(tail.b - tail.a, ddof=1))
    return _judge(result, spread=spread, quantum=_quantum(TRAIN_LOSS, a, b))


def _judge(result: MetricResult, *, spread: float | None, quantum: float = 0.0) -> MetricResult:
    """Give the verdict on a loss that differs: beyond its spread and beyond the floor is real.

    One run per side cannot tell how far a repeat would fall, so there is no p-value.

    Args:
        result: With both values.
        spread: Two standard deviations of the paired differences; None where there are none.
        quantum: The unit of the last digit that was printed.
    """
    a, b = result.a, result.b
    assert a is not None and b is not None
    if not np.isfinite([a, b]).all():
        if np.isfinite(a) == np.isfinite(b):
            return replace(result, reason=f"not finite on either side: {a} and {b}")
        state = State.BETTER if np.isfinite(b) else State.WORSE
        return replace(
            result, state=state, reason=f"not finite in {'A' if np.isfinite(b) else 'B'}"
        )
    apart, floor = abs(b - a), ASSUMED_LOSS_FLOOR * abs(a)
    told = f"apart by {apart:.3g}"
    if quantum:
        told += f" ({apart / quantum:.1f} print quanta of {quantum:g})"
        if apart <= quantum:
            return replace(result, state=State.WITHIN_NOISE, reason=f"{told}: within one")
    if spread is not None:
        told += f", paired differences spread {spread:.3g} (2 sd)"
    if spread is not None and apart <= spread:
        return replace(result, state=State.WITHIN_NOISE, reason=told)
    floor_told = f"the assumed run-to-run floor of {100 * ASSUMED_LOSS_FLOOR:g} %"
    if apart <= floor:
        return replace(result, state=State.WITHIN_NOISE, reason=f"{told}; within {floor_told}")
    state = direction(result)
    return replace(result, state=state, reason=f"{told}; beyond {floor_told}")


def _eval_result(key: str, a: Run, b: Run) -> MetricResult:
    """Return the result at the last evaluation that both runs made at the same step.

    Perplexity and bits per byte say the same as the loss, so the verdict is that on the loss.
    """
    match = _EVAL_KEY.fullmatch(key)
    assert match is not None
    name, quantity = match["name"], match["quantity"]
    paired = pair(a.metrics.numbers.get(key), b.metrics.numbers.get(key))
    result = MetricResult(
        name=f"{name} {quantity.replace('_', ' ')}",
        key=key,
        better=Better.LOWER,
        a=float(paired.a[-1]) if len(paired) else None,
        b=float(paired.b[-1]) if len(paired) else None,
        state=State.NOT_COMPARABLE,
        reason=_missing(key, a, b, paired) or _why_not(name, quantity, a, b),
        window=f"evaluation at step {paired.steps[-1]}" if len(paired) else "none",
        formula=f"{key} at the last step at which both runs evaluated",
    )
    if result.reason:
        return result
    if parting(paired) is None:
        told = f"identical to the bit at all {len(paired)} paired evaluations"
        return replace(result, state=State.WITHIN_NOISE, reason=told)
    loss_key = f"eval/{name}/loss"
    if quantity != "loss" and _either_has(loss_key, a, b) and not incomparable_tokens(a, b):
        loss = _eval_result(loss_key, a, b)
        return replace(result, state=loss.state, reason=f"as {loss.name}")
    return _judge(result, spread=None, quantum=_quantum(key, a, b))


def _missing(key: str, a: Run, b: Run, paired: Paired) -> str:
    for name, run in (("A", a), ("B", b)):
        if key not in run.metrics.numbers:
            return f"{name} has no {key}"
    return "" if len(paired) else f"no step at which both have {key}"


def _why_not(name: str, quantity: str, a: Run, b: Run) -> str:
    """Return why the evaluations `name` cannot be compared; empty where they can.

    Bits per byte compare across vocabularies, which the number of targets does not.
    """
    if reason := incomparable_tokens(a, b):
        return "" if quantity == "bits_per_byte" else reason
    key = f"eval/{name}/num_targets"
    paired = pair(a.metrics.numbers.get(key), b.metrics.numbers.get(key))
    if len(paired) and paired.a[-1] != paired.b[-1]:
        return f"evaluated on {paired.a[-1]:,.0f} targets in A and {paired.b[-1]:,.0f} in B"
    return ""


def _eval_order(key: str) -> tuple[str, int]:
    match = _EVAL_KEY.fullmatch(key)
    assert match is not None
    return match["name"], ("loss", "perplexity", "bits_per_byte").index(match["quantity"])
