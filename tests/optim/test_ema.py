import jax
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.optim import Learner, constant, decay_bias_correction, param_ema, sgd
from tests.optim.random_runs import as_arrays, as_tree, assert_close, random_arrays, run


def learner(decay, **fields):
    optimizer = config_for_function(sgd).set(
        learning_rate=0.1, update_schedule=config_for_function(constant)
    )
    ema = config_for_function(param_ema).set(decay=decay)
    return Learner.default_config().set(optimizer=optimizer, ema=ema, **fields).instantiate()


@pytest.mark.parametrize("corrected", [False, True])
def test_two_hundred_steps_equal_a_numpy_loop(corrected):
    decay = config_for_function(decay_bias_correction).set(decay=0.97) if corrected else 0.97
    ours = learner(decay)
    ema = {path: np.zeros_like(x) for path, x in random_arrays(0).items()}
    inputs = [random_arrays(step) for step in range(200)]
    for t, (params, state, _) in enumerate(run(ours, inputs), start=1):
        d = 0.97 * (1 - 0.97 ** (t - 1)) / (1 - 0.97**t) if corrected else 0.97
        ema = {path: (1 - d) * p + d * ema[path] for path, p in as_arrays(params).items()}
        assert_close(ours.eval_params(state, params), ema, rtol=1e-4, atol=1e-5)
        if t == 1 and corrected:
            jax.tree.map(np.testing.assert_array_equal, state.ema.ema, params)


def test_without_a_decay_nothing_is_kept_and_the_parameters_are_evaluated():
    ours = learner(None)
    params = as_tree(random_arrays(0))
    state = ours.init(params)
    assert jax.tree.leaves(state.ema) == []
    assert ours.eval_params(state, params) is params


def test_frozen_parameters_are_in_the_mean():
    ours = learner(0.5, frozen_params=("stack/weight",))
    params, state, _ = next(run(ours, [random_arrays(1)]))
    expected = as_arrays(params)["stack/weight"] / 2
    np.testing.assert_allclose(state.ema.ema["stack"]["weight"], expected, rtol=1e-6)
