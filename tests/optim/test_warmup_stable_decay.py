"""The schedules with a plateau, and the decay of an unbiased mean, against closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import (
    as_schedule,
    constant,
    cosine_with_linear_warmup,
    decay_bias_correction,
    warmup_stable_decay,
)

STEPS = [-1, *range(0, 130)]


def values(schedule, steps=STEPS):
    return [float(schedule(jnp.asarray(step, jnp.int32))) for step in steps]


@pytest.mark.parametrize(
    ("decay", "shape"),
    [
        ("linear", lambda s: 1 - s),
        ("cosine", lambda s: (1 + math.cos(math.pi * s)) / 2),
        ("one_minus_sqrt", lambda s: 1 - math.sqrt(s)),
    ],
)
def test_it_rises_stays_and_decays(decay, shape):
    schedule = warmup_stable_decay(
        0.6, max_step=100, warmup_steps=20, decay_steps=30, begin_value=0.1, alpha=0.25, decay=decay
    )

    def closed_form(t):
        if t <= 0:
            return 0.0
        if t <= 20:
            return 0.1 + t / 20 * 0.5
        if t <= 70:
            return 0.6
        return 0.6 * (0.75 * shape(min(t - 70, 30) / 30) + 0.25)

    np.testing.assert_allclose(values(schedule), [closed_form(t) for t in STEPS], rtol=1e-5)


def test_without_decay_steps_the_plateau_has_no_end():
    schedule = warmup_stable_decay(2.0, max_step=100, warmup_steps=10, decay_steps=0)
    assert values(schedule, [5, 10, 50, 100, 101, 10**6]) == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_a_cosine_may_begin_after_a_plateau():
    schedule = cosine_with_linear_warmup(
        0.6, max_step=100, warmup_steps=20, alpha=0.25, decay_begin_step=60
    )

    def closed_form(t):
        if t <= 20:
            return max(0.0, t / 20 * 0.6)
        cosine = 0.5 * (1 + math.cos(math.pi * min(max(t - 60, 0), 40) / 40))
        return 0.6 * (0.75 * cosine + 0.25)

    np.testing.assert_allclose(values(schedule), [closed_form(t) for t in STEPS], rtol=1e-5)


def test_a_plateau_that_ends_before_the_warmup_is_none():
    plain, early = (
        cosine_with_linear_warmup(1.0, max_step=100, warmup_steps=20, decay_begin_step=step)
        for step in (None, 10)
    )
    assert values(early) == values(plain)


def test_a_mean_with_the_corrected_decay_is_the_debiased_mean():
    decay_at = decay_bias_correction(0.9)
    mean = biased = 0.0
    for t in range(1, 200):
        x = math.sin(t)
        d = float(decay_at(jnp.asarray(t, jnp.int32)))
        mean = d * mean + (1 - d) * x
        biased = 0.9 * biased + 0.1 * x
        assert mean == pytest.approx(biased / (1 - 0.9**t), rel=1e-4, abs=1e-6)


def test_a_number_is_a_schedule():
    for value in (2, 2.0, constant(2.0), config_for_function(constant).set(value=2.0)):
        assert values(as_schedule(value), [1, 7]) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"warmup_steps": 80, "decay_steps": 30},
            "warmup_stable_decay: warmup_steps 80 and decay_steps 30 must fit into max_step 100; "
            "set learner.optimizer.update_schedule.decay_steps.",
        ),
        (
            {"warmup_steps": 8, "decay_steps": 30, "decay": "sqrt"},
            "warmup_stable_decay: decay 'sqrt' is none of linear, cosine, one_minus_sqrt; "
            "set learner.optimizer.update_schedule.decay.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(fields, text):
    with pytest.raises(UserError) as error:
        warmup_stable_decay(1.0, max_step=100, **fields)
    assert str(error.value) == text


def test_a_plateau_without_an_end_is_refused():
    with pytest.raises(UserError) as error:
        cosine_with_linear_warmup(1.0, max_step=100, warmup_steps=10, decay_begin_step=100)
    assert str(error.value) == (
        "cosine_with_linear_warmup: decay_begin_step 100 must be below max_step 100; "
        "set learner.optimizer.update_schedule.decay_begin_step."
    )
