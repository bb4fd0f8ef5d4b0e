"""The statistics over runs: against SciPy, and their levels and power by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from axl_exp.compare.floors import Floor
from axl_exp.compare.repeats import (
    benjamini_hochberg,
    equivalence,
    holm,
    permutation_p,
    run_test,
    runs_to_detect,
    welch,
    welch_p,
)
from axl_exp.compare.statistics import quantile_change
from axl_exp.compare.student import t_quantile

NUM_PAIRS = 1000
# Three standard deviations of the share of alarms at 5 %: 5 + 3 * sqrt(0.05 * 0.95 / 1000) = 7.1 %.
SLACK = 3 * np.sqrt(0.05 * 0.95 / NUM_PAIRS)


def step_times(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    *,
    num_steps: int = 200,
    phi: float = 0.0,
    heavy: bool = False,
    stalls: float = 0.0,
    run_spread: float = 0.0,
) -> np.ndarray:
    """Return step times of 0.25 s with 1 % of noise, AR(1) within a run, `shape` runs of them."""
    shocks = rng.standard_t(3, (*shape, num_steps)) / np.sqrt(3) if heavy else None
    shocks = rng.standard_normal((*shape, num_steps)) if shocks is None else shocks
    noise = np.empty_like(shocks)
    noise[..., 0] = shocks[..., 0]
    for step in range(1, num_steps):
        noise[..., step] = phi * noise[..., step - 1] + np.sqrt(1 - phi**2) * shocks[..., step]
    seconds = 0.25 * (1 + 0.01 * noise)
    seconds *= 1 + run_spread * rng.standard_normal((*shape, 1))
    is_stall = rng.random(seconds.shape) < stalls
    return np.where(is_stall, 5 * seconds, seconds)


KINDS = {
    "independent": {},
    "phi 0.6": {"phi": 0.6},
    "phi 0.9": {"phi": 0.9},
    "heavy tails": {"heavy": True},
    "heavy tails, phi 0.9": {"heavy": True, "phi": 0.9},
    "stalls": {"stalls": 0.05, "phi": 0.3},
    "runs that differ": {"phi": 0.6, "run_spread": 0.01},
}


@pytest.mark.parametrize("kind", KINDS)
def test_three_runs_against_three_of_one_code_alarm_in_at_most_5_percent(kind: str):
    """Median and 95th percentile are tested together, as a comparison does, under Holm."""
    rng = np.random.default_rng(0)
    times = step_times(rng, (NUM_PAIRS, 2, 3), **KINDS[kind])
    p = []
    for quantile in (0.5, 0.95):
        figures = np.quantile(times, quantile, axis=-1)
        p.append(welch_p(figures[:, 0], figures[:, 1]))
    alarms = 2 * np.min(p, axis=0) <= 0.05  # The smallest of two decides under Holm.
    assert alarms.mean() <= 0.05 + SLACK


@pytest.mark.parametrize("kind", KINDS)
def test_one_run_against_one_of_one_code_alarms_in_at_most_5_percent(kind: str):
    """By the floor of five stored A/A runs, for median and 95th percentile at once."""
    rng = np.random.default_rng(1)
    times = step_times(rng, (NUM_PAIRS, 7), **KINDS[kind])
    alarms = np.zeros(NUM_PAIRS, dtype=bool)
    for quantile in (0.5, 0.95):
        figures = np.quantile(times, quantile, axis=-1)
        stored = figures[:, 2:]
        spread = stored.std(axis=1, ddof=1) / stored.mean(axis=1)
        unit = Floor(0.0, spread=1.0, degrees=4, num_runs=5).between(1, 1)
        apart = np.abs(figures[:, 1] / figures[:, 0] - 1)
        for i in np.flatnonzero(~alarms & (apart > np.maximum(unit * spread, 0.001))):
            # Beyond the floor it must still be beyond the noise inside the runs.
            alarms[i] = 0.0 not in quantile_change(*times[i, :2], quantile=quantile)
    assert alarms.mean() <= 0.05 + SLACK


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_one_pair_without_stored_runs_alarms_in_at_most_5_percent(phi: float):
    """The assumed floor of 2 %, and the interval by the noise inside the runs, both exceeded."""
    rng = np.random.default_rng(2)
    times = step_times(rng, (60, 2), phi=phi)
    alarms = []
    for a, b in times:
        apart = abs(np.median(b) / np.median(a) - 1)
        is_beyond = apart > Floor(0.02).between(1, 1)
        alarms.append(is_beyond and 0.0 not in quantile_change(a, b, quantile=0.5))
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_two_percent_are_found_with_90_percent_power_by_three_runs_of_200_steps(phi: float):
    """1 % of noise per step; among four tests, each of which Holm asks four times as much of."""
    rng = np.random.default_rng(3)
    times = step_times(rng, (NUM_PAIRS, 2, 3), phi=phi)
    times[:, 1] *= 1.02
    p = welch_p(*np.moveaxis(np.median(times, axis=-1), 1, 0))
    least = {0.0: 0.99, 0.6: 0.99, 0.9: 0.9}[phi]
    assert np.mean(p <= 0.05) >= least
    if phi < 0.9:
        assert np.mean(4 * p <= 0.05) >= 0.9


def test_equivalence_is_accepted_below_the_margin_and_refused_at_it():
    """At the margin itself TOST accepts 5 %, far below it nearly always, beyond it never."""
    rng = np.random.default_rng(4)
    accepted = {}
    for shift in (0.0, 0.01, 0.02):
        runs = rng.normal(0.25, 0.25 * 0.002, (250, 2, 3))
        runs[:, 1] *= 1 + shift
        change, error, degrees = welch(runs[:, 0], runs[:, 1])
        scale = runs[:, 0].mean(axis=1)
        told = zip(change / scale, error / scale, degrees, strict=True)
        shown = [equivalence(c, e, d, margin=0.01).accepted for c, e, d in told]
        accepted[shift] = np.mean(shown)
    assert accepted[0.0] >= 0.95
    assert accepted[0.01] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 250)
    assert accepted[0.02] == 0.0


def test_the_runs_that_are_asked_for_detect_one_percent_and_fewer_do_not():
    rng = np.random.default_rng(5)
    spread = 0.008
    count = runs_to_detect(0.01, spread=spread)

    def power(num_runs: int) -> float:
        runs = rng.normal(1.0, spread, (4000, 2, num_runs))
        runs[:, 1] += 0.01
        return float(np.mean(welch_p(runs[:, 0], runs[:, 1]) <= 0.05))

    counts = np.arange(3, 50)
    critical = scipy.stats.t.ppf(0.975, 2 * counts - 2)
    exact = scipy.stats.nct.sf(critical, 2 * counts - 2, 0.01 / spread * np.sqrt(counts / 2))
    assert count == counts[exact >= 0.9][0]
    assert power(count) >= 0.9 - 0.015
    assert power(count // 2) < 0.8


def test_runs_that_do_not_vary_or_vary_wildly_ask_for_the_least_and_the_most():
    assert runs_to_detect(0.01, spread=0.0) == 3
    assert runs_to_detect(0.01, spread=0.001) == 3
    assert runs_to_detect(0.01, spread=10.0) == 10_000


def test_the_test_is_scipys_welch_and_its_interval():
    a, b = [1.0, 1.02, 0.99, 1.01], [1.05, 1.02, 1.07]
    expected: Any = scipy.stats.ttest_ind(b, a, equal_var=False)
    found = run_test(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    scale = np.mean(a)
    assert (found.interval.low * scale, found.interval.high * scale) == pytest.approx(
        (interval.low, interval.high)
    )


def test_the_permutation_test_is_scipys_and_three_against_three_cannot_go_below_a_tenth():
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1, 4), rng.normal(1, 1, 4)

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(y, axis=axis) - np.mean(x, axis=axis)

    every: Any = np.inf
    expected = scipy.stats.permutation_test((a, b), difference, n_resamples=every, vectorized=True)
    assert permutation_p(a, b)[0] == pytest.approx(expected.pvalue)
    p, lowest = permutation_p(np.array([1.0, 2, 3]), np.array([11.0, 12, 13]))
    assert p == lowest == pytest.approx(0.1)


def test_corrections_are_scipys_and_the_textbooks():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx(scipy.stats.false_discovery_control(p))
    assert holm([]) == benjamini_hochberg([]) == []


def test_sides_that_repeat_to_the_bit_differ_for_sure_or_not_at_all():
    same = run_test([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert (same.p, same.interval.low, same.interval.high) == (1.0, 0.0, 0.0)
    assert run_test([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]).p == 0.0


def test_a_floor_of_few_runs_is_wider_than_one_of_many():
    few, many = (Floor(0.02, spread=0.01, degrees=d, num_runs=d + 1) for d in (2, 50))
    assert few.between(1, 1) == pytest.approx(0.01 * np.sqrt(2) * t_quantile(0.995, 2))
    assert many.between(1, 1) < few.between(1, 1)
    assert Floor(0.02).between(3, 3) == 0.02
    assert Floor(0.02, spread=0.0, degrees=9, num_runs=10).between(1, 1) == 0.001
