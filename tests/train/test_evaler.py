"""Evaluation tells the truth about a model that diverged."""

import math

import pytest

from axl_exp.train.evaler import perplexity


def test_perplexity_is_the_exponential_of_the_loss():
    assert perplexity(math.log(8192)) == pytest.approx(8192)


def test_perplexity_beyond_a_float_is_infinite_and_of_nan_is_nan():
    assert perplexity(1e6) == math.inf
    assert math.isnan(perplexity(math.nan))
