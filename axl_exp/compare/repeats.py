"""Statistics over repeated runs: the run is the unit of inference, and steps are not.

All functions take runs along the last axis and broadcast over the others, so that the simulations
that prove their levels can judge thousands of comparisons in one call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from axl_exp.compare.statistics import Interval
from axl_exp.compare.student import t_power, t_quantile, t_two_sided_p

LEVEL = 0.05
POWER = 0.9
DETECT = 0.01  # The change that "N more runs would detect" speaks of.
MIN_RUNS = 3  # Per side: fewer do not tell their own spread well enough.
_MAX_RUNS = 10_000
_MAX_SPLITS = 20_000  # More are drawn at random.


@dataclass(frozen=True)
class RunTest:
    """What repeated runs of two sides say of the change of one figure.

    Welch's t-test of the runs' figures decides: it does not take both sides for equally noisy. The
    permutation test assumes less and is told beside it; with 3 runs against 3 it cannot go below
    0.1, however large the change, so it cannot decide there.

    Attributes:
        interval: 95 % confidence interval of the relative change.
        p: Two-sided p of Welch's t-test.
        p_permutation: Two-sided p of the exact permutation test of the means' difference.
        lowest_p: The lowest that the permutation test can reach with so many runs.
        spread: Standard deviation of one run, relative to A's mean.
        degrees: Welch-Satterthwaite degrees of freedom.
    """

    interval: Interval
    p: float
    p_permutation: float
    lowest_p: float
    spread: float
    degrees: float


def run_test(a: Sequence[float], b: Sequence[float]) -> RunTest:
    """Return the test of B's runs against A's; at least two finite figures each, A's mean not 0."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    scale = abs(float(x.mean()))
    change, error, degrees = (float(v) for v in welch(x, y))
    half = t_quantile(1 - LEVEL / 2, degrees) * error
    p_permutation, lowest = permutation_p(x, y)
    pooled = (x.var(ddof=1) * (len(x) - 1) + y.var(ddof=1) * (len(y) - 1)) / (len(x) + len(y) - 2)
    return RunTest(
        interval=Interval((change - half) / scale, (change + half) / scale),
        p=float(welch_p(x, y)),
        p_permutation=p_permutation,
        lowest_p=lowest,
        spread=math.sqrt(pooled) / scale,
        degrees=degrees,
    )


def welch(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return difference of means B - A, its standard error and its degrees of freedom.

    Welch 1947, Biometrika 34, 28-35. Where neither side varies the degrees are those of equal
    variances, num_a + num_b - 2.
    """
    num_a, num_b = a.shape[-1], b.shape[-1]
    part_a, part_b = a.var(axis=-1, ddof=1) / num_a, b.var(axis=-1, ddof=1) / num_b
    total = part_a + part_b
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = total**2 / (part_a**2 / (num_a - 1) + part_b**2 / (num_b - 1))
    degrees = np.where(np.isfinite(degrees), degrees, num_a + num_b - 2)
    return b.mean(axis=-1) - a.mean(axis=-1), np.sqrt(total), degrees


def welch_p(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the two-sided p of no difference; 1 where nothing varies and nothing differs."""
    change, error, degrees = welch(a, b)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(change) / error
    return np.where(change == 0, 1.0, t_two_sided_p(np.where(error > 0, t, np.inf), degrees))


def permutation_p(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the two-sided p of the permutation test of the means, and the lowest it can be.

    All splits are tried where they are few, else 20,000 drawn ones, the observed one among them.
    """
    every, num_a = np.concatenate([a, b]), len(a)
    num_splits = math.comb(len(every), num_a)
    if num_splits <= _MAX_SPLITS:
        chosen = np.array(list(combinations(range(len(every)), num_a)))
    else:
        rng = np.random.default_rng(seed)
        chosen = rng.permuted(np.tile(np.arange(len(every)), (_MAX_SPLITS - 1, 1)), axis=1)
        chosen = np.concatenate([np.arange(num_a)[None], chosen[:, :num_a]])
    sums = every[chosen].sum(axis=1)
    centre = every.sum() * num_a / len(every)
    apart, observed = np.abs(sums - centre), abs(float(a.sum()) - centre)
    tolerance = 1e-9 * max(observed, 1e-300)  # Sums of equal splits differ by rounding.
    p = float(np.mean(apart >= observed - tolerance))
    return p, (2 if num_a == len(b) else 1) / len(chosen)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (Schuirmann 1987, J. Pharmacokin. Biopharm. 15, 657-680).

    Attributes:
        margin: The relative change that was declared to be none: 0.01 is 1 %.
        interval: 90 % interval of the relative change; None where nothing tells it.
        accepted: Whether the interval lies inside the margin: "no change" was earned.
        told: Why, in words.
    """

    margin: float
    interval: Interval | None
    accepted: bool
    told: str


def equivalence(change: float, error: float, degrees: float, *, margin: float) -> Equivalence:
    """Return whether a relative `change` with standard error `error` is inside the margin."""
    half = t_quantile(1 - LEVEL, degrees) * error
    interval = Interval(change - half, change + half)
    accepted = bool(-margin < interval.low and interval.high < margin)
    where = f"90 % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f} %"
    inside = "inside" if accepted else "not inside"
    return Equivalence(margin, interval, accepted, f"{where} {inside} ±{100 * margin:g} %")


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: the chance of one false alarm among all.

    Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    return _in_place(order, np.maximum.accumulate(steps))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that a cut at q leaves a share of at most q false among found.

    Benjamini and Hochberg 1995, J. R. Statist. Soc. B 57, 289-300.
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * len(order) / np.arange(1, len(order) + 1)
    return _in_place(order, np.minimum.accumulate(steps[::-1])[::-1])


def _in_place(order: np.ndarray, adjusted: np.ndarray) -> list[float]:
    found = np.empty(len(order))
    found[order] = np.minimum(adjusted, 1.0)
    return found.tolist()


def runs_to_detect(change: float, *, spread: float) -> int:
    """Return how many runs per side find a relative `change` at 5 % with a power of 90 %.

    By the noncentral t distribution; at least MIN_RUNS, at most 10,000.

    Args:
        spread: Standard deviation of one run, relative.
    """
    if spread <= 0:
        return MIN_RUNS
    low, high = MIN_RUNS, _MAX_RUNS
    while low < high:
        count = (low + high) // 2
        degrees, shift = 2 * count - 2, change / spread * math.sqrt(count / 2)
        is_enough = t_power(shift, t_quantile(1 - LEVEL / 2, degrees), degrees) >= POWER
        low, high = (low, count) if is_enough else (count + 1, high)
    return low
