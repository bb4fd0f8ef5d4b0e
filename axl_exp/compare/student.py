"""Student's t distribution, since importing SciPy's takes longer than a comparison."""

from __future__ import annotations

import functools
import math

import numpy as np

_NUM_TERMS = 400
_TINY = 1e-300
_NUM_NODES = 1001


def _two_sided_p(t: float, degrees: float) -> float:
    """Return I_x(degrees / 2, 1 / 2) at x = degrees / (degrees + t^2).

    The regularised incomplete beta function; Abramowitz and Stegun 26.7.1 and 26.5.27.
    """
    if math.isinf(t) or t * t > 1e300:
        return 0.0
    a, x, rest = degrees / 2, degrees / (degrees + t * t), t * t / (degrees + t * t)
    # The fraction converges fast where x is below its mean; beyond, the other tail is taken.
    if x < (a + 1) / (a + 2.5):
        return _beta_tail(a, 0.5, x, rest)
    return 1 - _beta_tail(0.5, a, rest, x)


def _beta_tail(p: float, q: float, x: float, rest: float) -> float:
    """Return I_x(p, q) by Lentz's evaluation of its continued fraction (A&S 26.5.8).

    `rest` is 1 - x, with all its digits.
    """
    if x <= 0:
        return 0.0
    log_front = p * math.log(x) + q * math.log(rest)
    front = math.exp(log_front + math.lgamma(p + q) - math.lgamma(p) - math.lgamma(q)) / p
    c, d = 1.0, 1 / _away_from_zero(1 - (p + q) * x / (p + 1))
    fraction = d
    for m in range(1, _NUM_TERMS):
        even = m * (q - m) * x / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * x / ((p + 2 * m) * (p + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            fraction *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return front * fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


_two_sided_p_of_each = np.vectorize(_two_sided_p, otypes=[float])


def t_two_sided_p(t: np.ndarray | float, degrees: np.ndarray | float) -> np.ndarray:
    """Return the probability of a t at least so far from zero, elementwise; 0 for infinite t."""
    return _two_sided_p_of_each(t, degrees)


@functools.lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Return the t below which `probability` of the distribution lies, for 0.5 up to below 1."""
    target = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while _two_sided_p(high, degrees) > target and high < 1e12:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if _two_sided_p(middle, degrees) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_power(shift: float, critical: float, degrees: float) -> float:
    """Return the probability that a noncentral t with noncentrality `shift` exceeds `critical`.

    The mean of Phi(shift - critical s) over the distribution of s, a chi divided by the root of its
    degrees; by the trapezoidal rule.
    """
    width = 12 / math.sqrt(2 * degrees)
    s = np.linspace(max(1e-9, 1 - width), 1 + width, _NUM_NODES)
    log_density = (degrees - 1) * np.log(s) - degrees * s * s / 2
    density = np.exp(log_density - log_density.max())
    exceeds = [0.5 * math.erfc((critical * x - shift) / math.sqrt(2)) for x in s.tolist()]
    return float(density @ np.array(exceeds) / density.sum())
