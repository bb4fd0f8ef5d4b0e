"""When to do something: functions of the step that just finished and the last step of the run.

Used through `config_for_function`, so that a recipe says `every_n_steps_and_last_policy` with its
`n`. The last step is the trainer's `max_step`: it stands in one place.
"""

from collections.abc import Callable

Policy = Callable[[int, int], bool]


def never_policy() -> Policy:
    """Return the policy of never."""
    return lambda step, max_step: False


def every_n_steps_policy(n: int, min_step: int = 1) -> Policy:
    """Return the policy of steps at or after `min_step` that `n` divides."""
    return lambda step, max_step: step >= min_step and step % n == 0


def every_n_steps_and_last_policy(n: int, min_step: int = 1) -> Policy:
    """Return the policy of every n steps from `min_step` on, and of the last step."""
    every_n = every_n_steps_policy(n, min_step)
    return lambda step, max_step: every_n(step, max_step) or step >= max_step
