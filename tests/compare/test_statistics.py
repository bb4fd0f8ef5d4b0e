from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from axl_exp.compare.statistics import (
    block_length,
    bootstrap_quantile,
    limit_quantile,
    quantile_change,
    rank_autocorrelation,
)


def ar1(rng: np.random.Generator, *, num_steps: int, phi: float) -> np.ndarray:
    """Step times of 0.25 s with 1 % of autocorrelated noise."""
    noise = np.zeros(num_steps + 200)
    for i, shock in enumerate(rng.standard_normal(num_steps + 200)):
        noise[i] = phi * noise[i - 1] + shock * np.sqrt(1 - phi**2)
    return 0.25 * (1 + 0.01 * noise[200:])


def test_the_rank_autocorrelation_is_scipys_spearman_of_neighbours_on_a_long_series():
    values = ar1(np.random.default_rng(0), num_steps=20_000, phi=0.7)
    expected, _ = scipy.stats.spearmanr(values[1:], values[:-1])
    assert rank_autocorrelation(values) == pytest.approx(expected, abs=1e-3)


def test_the_bias_of_short_series_is_taken_out():
    rng = np.random.default_rng(0)
    series = [ar1(rng, num_steps=50, phi=0.6) for _ in range(400)]
    expected, _ = scipy.stats.spearmanr(*_neighbours(rng, phi=0.6))
    assert np.mean([rank_autocorrelation(s) for s in series]) == pytest.approx(expected, abs=0.03)


def _neighbours(rng: np.random.Generator, *, phi: float) -> tuple[np.ndarray, np.ndarray]:
    values = ar1(rng, num_steps=50_000, phi=phi)
    return values[1:], values[:-1]


def test_independent_steps_are_drawn_one_by_one_and_dependent_ones_in_blocks():
    rng = np.random.default_rng(0)
    alternating = np.tile([1.0, 2.0], 100)
    assert block_length(alternating) == 1
    assert block_length(np.ones(100)) <= 33
    # (2 * 0.9 / (1 - 0.81))^(2/3) * 1000^(1/3) = 44.8 for the true autocorrelation.
    lengths = [block_length(ar1(rng, num_steps=1000, phi=0.9)) for _ in range(20)]
    assert 30 <= np.median(lengths) <= 55


@pytest.mark.parametrize("num_values", [1, 2, 3, 5])
def test_the_shortest_series_can_be_drawn_from(num_values: int):
    values = np.arange(1.0, num_values + 1)
    rng = np.random.default_rng(0)
    drawn = bootstrap_quantile(values, quantile=0.5, num_draws=50, rng=rng)
    assert drawn.min() >= 1.0
    assert drawn.max() <= num_values


def test_the_spread_of_the_bootstrapped_median_is_that_of_the_closed_form():
    """For independent normal values the median's standard deviation is sqrt(pi / 2n) sigma."""
    rng = np.random.default_rng(1)
    spreads = []
    for _ in range(40):
        values = rng.normal(10, 1, size=400)
        spreads.append(bootstrap_quantile(values, quantile=0.5, num_draws=300, rng=rng).std())
    assert np.mean(spreads) == pytest.approx(np.sqrt(np.pi / 800), rel=0.1)


def test_draws_in_several_portions_are_like_draws_in_one(monkeypatch):
    values = np.random.default_rng(0).normal(10, 1, size=300)
    monkeypatch.setattr("axl_exp.compare.statistics._MAX_HELD", 900)
    draws = bootstrap_quantile(values, quantile=0.5, num_draws=400, rng=np.random.default_rng(1))
    assert len(draws) == 400
    assert np.median(draws) == pytest.approx(np.median(values), abs=0.1)


def test_the_same_series_is_no_change_and_a_shift_is_the_shift():
    values = ar1(np.random.default_rng(0), num_steps=200, phi=0.3)
    assert 0.0 in quantile_change(values, values, quantile=0.5)
    interval = quantile_change(values, 1.05 * values, quantile=0.5)
    assert 0.05 in interval
    assert 0.0 not in interval


@pytest.mark.parametrize(("phi", "highest"), [(0.0, 0.08), (0.3, 0.11), (0.6, 0.15)])
def test_false_alarms_of_the_interval_alone_stay_near_its_level(phi: float, highest: float):
    """Steps drawn one by one would alarm in 14 % and 30 % of the cases for 0.3 and 0.6."""
    rng = np.random.default_rng(3)
    alarms = [
        0.0
        not in quantile_change(
            *(ar1(rng, num_steps=100, phi=phi) for _ in range(2)), quantile=0.5, seed=i
        )
        for i in range(60)
    ]
    assert np.mean(alarms) <= highest


@pytest.mark.parametrize("phi", [0.0, 0.7])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_the_limit_of_the_bootstrap_is_what_drawing_finds(phi, quantile):
    rng = np.random.default_rng(7)
    noise = rng.standard_normal(20_000)
    for i in range(1, len(noise)):
        noise[i] += phi * noise[i - 1]
    values = 0.25 * np.exp(0.02 * noise)
    drawn = bootstrap_quantile(values, quantile=quantile, num_draws=1000, rng=rng)
    limit = limit_quantile(
        values, block_length(values), quantile=quantile, num_draws=20_000, rng=rng
    )
    assert limit.std() == pytest.approx(drawn.std(), rel=0.1)
    assert limit.mean() == pytest.approx(drawn.mean(), abs=0.1 * drawn.std())


def test_a_million_steps_take_no_longer_than_sorting_them():
    rng = np.random.default_rng(0)
    a, b = 0.25 * np.exp(0.01 * rng.standard_normal((2, 1_000_000)))
    interval = quantile_change(a, b, quantile=0.5)
    assert 0.0 in interval
    assert interval.high - interval.low < 2e-4  # 4 * 1.2533 * 0.01 * sqrt(2 / 10^6) = 7e-5.
