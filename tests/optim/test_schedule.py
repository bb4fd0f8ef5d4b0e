import math

import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.errors import UserError
from axl_exp.optim import constant, cosine_with_linear_warmup, linear


def values(schedule, steps):
    return [float(schedule(jnp.asarray(step, jnp.int32))) for step in steps]


def test_cosine_rises_to_the_peak_falls_to_alpha_of_it_and_stays():
    schedule = cosine_with_linear_warmup(
        0.6, max_step=100, warmup_steps=20, begin_value=0.1, alpha=0.25
    )

    def closed_form(t):
        if t <= 0:
            return 0.0
        if t <= 20:
            return 0.1 + t / 20 * (0.6 - 0.1)
        cosine = 0.5 * (1 + math.cos(math.pi * min(t - 20, 80) / 80))
        return 0.6 * ((1 - 0.25) * cosine + 0.25)

    steps = [-1, *range(0, 130)]
    np.testing.assert_allclose(
        values(schedule, steps), [closed_form(t) for t in steps], rtol=1e-5, atol=1e-7
    )
    assert values(schedule, [20, 60, 100, 1000]) == pytest.approx([0.6, 0.375, 0.15, 0.15])


def test_fuji_1b_starts_with_a_two_thousandth_of_its_peak():
    schedule = cosine_with_linear_warmup(1.0, max_step=983040, warmup_steps=2000, alpha=0.1)
    assert values(schedule, [1, 2000, 983040]) == pytest.approx([1 / 2000, 1.0, 0.1])


def test_cosine_without_warmup_starts_at_the_peak():
    schedule = cosine_with_linear_warmup(1.0, max_step=4, warmup_steps=0)
    expected = [0.5 * (1 + math.cos(math.pi * t / 4)) for t in (1, 2, 3, 4)]
    assert values(schedule, [0, 1, 2, 3, 4]) == pytest.approx([0.0, *expected], abs=1e-7)


def test_linear_stays_at_its_ends():
    schedule = linear(begin_step=10, begin_value=1.0, max_step=20, end_value=0.5)
    assert values(schedule, [0, 10, 15, 20, 99]) == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.5])


def test_constant_is_the_same_at_every_step():
    assert values(constant(0.3), [1, 10**6]) == pytest.approx([0.3, 0.3])
    assert constant()(jnp.asarray(1, jnp.int32)).dtype == jnp.float32


def test_a_warmup_that_does_not_end_is_refused():
    with pytest.raises(UserError) as error:
        cosine_with_linear_warmup(1.0, max_step=2000, warmup_steps=2000)
    assert str(error.value) == (
        "cosine_with_linear_warmup: warmup_steps 2000 must be below max_step 2000; "
        "set learner.optimizer.update_schedule.warmup_steps."
    )


def test_a_line_that_goes_back_is_refused():
    with pytest.raises(UserError, match="max_step 5 must be above begin_step 5"):
        linear(begin_step=5, max_step=5)
