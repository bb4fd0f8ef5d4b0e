import jax
import pytest

from axl_exp.config import config_for_function
from axl_exp.optim import (
    adafactor,
    adamw,
    constant,
    like_params,
    lion,
    muon,
    param_ema,
    skip_and_clip_by_global_norm,
)
from tests.optim.random_runs import as_tree, learner_of, random_arrays


@pytest.mark.parametrize(
    ("fn", "num_like_the_stack"), [(adamw, 3), (lion, 2), (muon, 2), (adafactor, 1)]
)
def test_moments_and_the_mean_belong_to_their_parameter_whatever_wraps_them(fn, num_like_the_stack):
    inner = config_for_function(fn).set(
        learning_rate=0.1, update_schedule=config_for_function(constant)
    )
    if fn is adafactor:
        inner.min_dim_size_to_factor = 2
    learner = learner_of(
        config_for_function(skip_and_clip_by_global_norm).set(inner=inner, drop_norm=1.0),
        ema=config_for_function(param_ema).set(decay=0.9),
    )
    params = as_tree(random_arrays(0))
    state = jax.eval_shape(learner.init, params)
    values = {"stack": {"weight": "of the stack"}, "norm": {"scale": "of the norm"}}
    layout = like_params(state, params=params, values=values, other="other")

    assert jax.tree.structure(layout) == jax.tree.structure(state)
    said = list(zip(jax.tree.leaves(layout), jax.tree.leaves(state), strict=True))
    assert sum(where == "of the stack" for where, _ in said) == num_like_the_stack
    for where, leaf in said:
        shape = {"of the stack": (3, 4, 2), "of the norm": (5,)}.get(where)
        assert leaf.shape == shape or (shape is None and leaf.shape not in [(3, 4, 2), (5,)])
