from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from axl_exp.compare.student import t_power, t_quantile, t_two_sided_p


@pytest.mark.parametrize("degrees", [1.0, 2.3, 4.0, 30.0, 2000.0])
def test_tails_are_scipys(degrees: float):
    t = np.array([0.0, 1e-6, 0.3, 1.0, 2.5, 10.0, 1e4, np.inf])
    expected = 2 * scipy.stats.t.sf(t, degrees)
    np.testing.assert_allclose(t_two_sided_p(t, degrees), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("degrees", [1.0, 2.3, 4.0, 30.0, 2000.0])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.995])
def test_quantiles_are_scipys(degrees: float, probability: float):
    expected = scipy.stats.t.ppf(probability, degrees)
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("degrees", [2, 4, 18, 200])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0, 6.0])
def test_the_power_is_that_of_scipys_noncentral_t(degrees: int, shift: float):
    critical = float(scipy.stats.t.ppf(0.975, degrees))
    expected = scipy.stats.nct.sf(critical, degrees, shift)
    assert t_power(shift, critical, degrees) == pytest.approx(expected, abs=2e-4)
