import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import (
    learner_context,
    map_per_layer,
    per_param_scale_by_path,
    scale_update_per_param,
)

PARAMS = {
    "decoder": {
        "emb": {"weight": jnp.ones((2, 3))},
        "attention": {"o_proj": {"weight": jnp.ones((4, 3))}, "norm": {"scale": jnp.ones(3)}},
    }
}
LAYERS = {
    "decoder/emb/weight": ("vocab", "vocab_embed"),
    "decoder/attention/o_proj/weight": ("layers", "embed"),
    "decoder/attention/norm/scale": ("norm",),
}


def test_the_first_pattern_that_matches_the_whole_path_gives_the_scale():
    scales = per_param_scale_by_path(
        scale_by_path=[("attention", 9.0), (".*/o_proj/weight", 0.25), (".*/weight", 0.5)],
        description="a test",
        default_scale=2.0,
    )(PARAMS)
    assert scales == {
        "decoder": {
            "emb": {"weight": 0.5},
            "attention": {"o_proj": {"weight": 0.25}, "norm": {"scale": 2.0}},
        }
    }


def test_updates_are_scaled_each_with_its_own():
    scales = config_for_function(per_param_scale_by_path).set(
        scale_by_path=[(".*attention/o_proj/weight", 0.25)], description="mup"
    )
    transformation = config_for_function(scale_update_per_param).set(per_param_scale=scales)
    transformation = transformation.instantiate()
    updates, _ = transformation.update(PARAMS, transformation.init(PARAMS), PARAMS)
    assert float(updates["decoder"]["attention"]["o_proj"]["weight"][0, 0]) == 0.25
    assert float(updates["decoder"]["emb"]["weight"][0, 0]) == 1.0


def test_a_stack_is_taken_layer_by_layer():
    tree = jax.tree.map(
        lambda x: x * jnp.arange(1.0, 1 + len(x)).reshape(-1, *[1] * (x.ndim - 1)), PARAMS
    )
    with learner_context(LAYERS):
        sums = map_per_layer(lambda x, y: jnp.sum(x * y), tree, tree)
    np.testing.assert_array_equal(sums["decoder"]["attention"]["o_proj"]["weight"], [3, 12, 27, 48])
    assert float(sums["decoder"]["emb"]["weight"]) == 3 + 12
    # Nobody said that it is a stack.
    alone = map_per_layer(lambda x: jnp.sum(x), tree)
    assert float(alone["decoder"]["attention"]["o_proj"]["weight"]) == 3 + 6 + 9 + 12


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(UserError) as error:
        per_param_scale_by_path(scale_by_path=[("*weight", 1.0)], description="mup")
    assert str(error.value) == (
        "scale_by_path of 'mup': '*weight' is no regular expression "
        "(nothing to repeat at position 0)."
    )
