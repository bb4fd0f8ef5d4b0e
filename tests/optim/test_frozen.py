"""Parameters that stay as they are, and what a learner reports of each parameter."""

import jax
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import adafactor, adamw, constant, lion, muon, sgd, skip_and_clip_by_global_norm
from tests.optim.random_runs import as_tree, global_norm, learner_of, random_arrays, rms, run

FROZEN = ("stack/.*",)


def optimizer(fn=adamw):
    return config_for_function(fn).set(
        learning_rate=0.1, weight_decay=0.1, update_schedule=config_for_function(constant)
    )


@pytest.mark.parametrize("fn", [adamw, lion, sgd, adafactor, muon])
def test_frozen_parameters_keep_every_bit_and_have_no_state(fn):
    skipping = config_for_function(skip_and_clip_by_global_norm).set(inner=optimizer(fn))
    learner = learner_of(skipping, frozen_params=FROZEN)
    start = as_tree(random_arrays(0))
    params, state, summaries = list(run(learner, [random_arrays(1), random_arrays(2)]))[-1]
    np.testing.assert_array_equal(params["stack"]["weight"], start["stack"]["weight"])
    assert np.abs(params["norm"]["scale"] - start["norm"]["scale"]).min() > 0
    shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert not any(shape[:1] == (3,) and len(shape) > 1 for shape in shapes)
    norm = global_norm({"norm/scale": random_arrays(2)["norm/scale"]})
    assert summaries["gradient_norm"] == pytest.approx(norm, rel=1e-5)


def test_the_others_move_as_if_the_frozen_were_not_there():
    params, _, _ = next(run(learner_of(optimizer(), frozen_params=FROZEN), [random_arrays(1)]))
    free, _, _ = next(run(learner_of(optimizer()), [random_arrays(1)]))
    np.testing.assert_array_equal(params["norm"]["scale"], free["norm"]["scale"])


def test_a_pattern_that_freezes_nothing_is_refused():
    learner = learner_of(optimizer(), frozen_params=("stack",))
    with pytest.raises(UserError) as error:
        learner.init(as_tree(random_arrays(0)))
    assert str(error.value) == (
        "learner.frozen_params: 'stack' matches no parameter; a pattern must match a whole path, "
        "such as 'norm/scale'."
    )


def test_the_size_of_every_parameter_and_gradient_is_reported_on_request():
    learner = learner_of(optimizer(), enable_per_variable_summaries=True)
    _, _, summaries = next(run(learner, [random_arrays(1)]))
    for path in random_arrays(0):
        expected = rms(random_arrays(0)[path])
        assert summaries[f"param_rms/{path}"] == pytest.approx(expected, rel=1e-5)
        expected = rms(random_arrays(1)[path])
        assert summaries[f"gradient_rms/{path}"] == pytest.approx(expected, rel=1e-5)
