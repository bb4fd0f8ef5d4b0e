"""Noise inside one run: the moving-block bootstrap of a quantile.

Step times are autocorrelated, so steps may not be resampled one by one; blocks of neighbouring
steps keep their dependence (Künsch 1989, The Annals of Statistics 17(3), 1217-1241; blocks wrap
around the end, so that every step is drawn equally often).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
_MAX_DRAWN = 20_000_000  # Values drawn per bootstrap: bounds the time on very long runs.
_MAX_HELD = 2_000_000  # Values held at once.
_MAX_AUTOCORRELATION = 0.97
_MANY = 200_000  # Values, of which drawing takes seconds.
_MANY_BLOCKS = 2000  # Of which the sum of counts is normal.


@dataclass(frozen=True)
class Interval:
    """A closed interval; of a relative change: 0.02 is 2 %."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def quantile_change(a: np.ndarray, b: np.ndarray, *, quantile: float, seed: int = 0) -> Interval:
    """Return a 95 % interval of `quantile(b) / quantile(a) - 1` from the noise inside both runs.

    Drift between runs is not in it: two runs of the same code can differ by more.

    Args:
        a: Values in order of their steps, positive. At least one.
        b: As `a`; the number of steps may differ.
        quantile: 0.5 for the median.
        seed: The draws are the same for the same seed.
    """
    rng = np.random.default_rng(seed)
    num_draws = max(200, min(2000, _MAX_DRAWN // max(len(a), len(b))))
    log_a = np.log(bootstrap_quantile(a, quantile=quantile, num_draws=num_draws, rng=rng))
    log_b = np.log(bootstrap_quantile(b, quantile=quantile, num_draws=num_draws, rng=rng))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.expm1(np.quantile(log_b - log_a, [tail, 1 - tail]))
    return Interval(float(low), float(high))


def bootstrap_quantile(
    values: np.ndarray, *, quantile: float, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `num_draws` quantiles of series made of random blocks of `values`."""
    num_values = len(values)
    length = block_length(values)
    if num_values > _MANY or num_values > _MANY_BLOCKS * length:
        return limit_quantile(values, length, quantile=quantile, num_draws=num_draws, rng=rng)
    num_blocks = math.ceil(num_values / length)
    wrapped = np.concatenate([values, values[: length - 1]])
    blocks = np.lib.stride_tricks.sliding_window_view(wrapped, length)
    found = np.empty(num_draws)
    rows = max(1, _MAX_HELD // num_values)  # Draws made at once.
    for start in range(0, num_draws, rows):
        size = min(rows, num_draws - start)
        drawn = blocks[rng.integers(num_values, size=(size, num_blocks))].reshape(size, -1)
        found[start : start + size] = np.quantile(drawn[:, :num_values], quantile, axis=1)
    return found


def limit_quantile(
    values: np.ndarray, length: int, *, quantile: float, num_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return what `bootstrap_quantile` tends to with many blocks, without drawing them.

    How many values of a draw are below the quantile q is a sum of independent counts, one per
    block, so normal with their variance; and a draw that has k more of them has its own quantile k
    values further down (Bahadur 1966, The Annals of Mathematical Statistics 37(3), 577-580).
    """
    num_values = len(values)
    ordered = np.sort(values)
    at = quantile * (num_values - 1)
    is_below = values <= ordered[round(at)]
    counted = np.cumsum(np.concatenate([[False], is_below, is_below[: length - 1]]), dtype=np.int32)
    spread = math.sqrt(num_values / length * np.var(counted[length:] - counted[:-length]))
    places = np.clip(at - spread * rng.standard_normal(num_draws), 0, num_values - 1)
    low = places.astype(np.int64)
    high = np.minimum(low + 1, num_values - 1)
    return ordered[low] + (places - low) * (ordered[high] - ordered[low])


def block_length(values: np.ndarray) -> int:
    """Return the number of neighbouring steps to be drawn together, 1 for independent steps.

    The length that is best for the mean of an AR(1) series, `(2r / (1 - r^2))^(2/3) n^(1/3)`
    (Carlstein 1986, The Annals of Statistics 14(3), 1171-1179), with r the lag-1 autocorrelation of
    the ranks (a stall of minutes counts as one high value) corrected for its bias in short series;
    at most a third of the series, so that there are blocks to choose from.
    """
    num_values = len(values)
    r = min(rank_autocorrelation(values), _MAX_AUTOCORRELATION)
    if r <= 0:
        return 1
    length = math.ceil((2 * r / (1 - r * r)) ** (2 / 3) * num_values ** (1 / 3))
    return max(1, min(length, num_values // 3))


def rank_autocorrelation(values: np.ndarray) -> float:
    """Return the lag-1 autocorrelation of the ranks of `values`, 0 for fewer than 4 values.

    The bias of a short series, about `-(1 + 3r) / n`, is taken out (Marriott and Pope 1954,
    Biometrika 41, 390-402).
    """
    num_values = len(values)
    if num_values < 4:
        return 0.0
    ranks = np.empty(num_values)
    ranks[np.argsort(values, kind="stable")] = np.arange(num_values) - (num_values - 1) / 2
    r = float(ranks[1:] @ ranks[:-1] / (ranks @ ranks))
    return r + (1 + 3 * r) / num_values
