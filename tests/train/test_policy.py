"""When something is due."""

from axl_exp.train.policy import (
    every_n_steps_and_last_policy,
    every_n_steps_policy,
    never_policy,
)


def _due(policy, *, max_step):
    return [step for step in range(1, max_step + 1) if policy(step, max_step)]


def test_every_n_steps_counts_from_zero():
    assert _due(every_n_steps_policy(4), max_step=10) == [4, 8]


def test_steps_before_min_step_are_left_out():
    assert _due(every_n_steps_policy(2, min_step=5), max_step=10) == [6, 8, 10]


def test_the_last_step_is_due_even_where_n_does_not_divide_it():
    assert _due(every_n_steps_and_last_policy(4), max_step=10) == [4, 8, 10]
    assert _due(every_n_steps_and_last_policy(5), max_step=10) == [5, 10]


def test_never_is_never():
    assert _due(never_policy(), max_step=10) == []
