import jax
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from axl_exp.errors import UserError
from axl_exp.model import DefaultInitializer, WeightInitializer


def test_every_weight_starts_with_the_moments_of_its_fan(model_config):
    decoder = model_config(tied_head=False).instantiate(rngs=nnx.Rngs(0)).decoder
    layer = decoder.transformer.layer
    attention, mlp = layer.self_attention.attention, layer.feed_forward
    fans = [
        (decoder.emb.token_emb.weight, 24),  # fan_out, the dim
        (decoder.lm_head.weight, 24),
        (attention.i_proj.i_proj.qkv_proj.weight, 24),
        (attention.o_proj.weight, 6 * 4),
        (mlp.linear1_0.weight, 24),
        (mlp.linear1_1.weight, 24),
        (mlp.linear2.weight, 40),
    ]
    for weight, fan in fans:
        values = np.asarray(weight[...]).ravel() * np.sqrt(fan)
        # Standard errors of mean and deviation of `size` standard normals; 4 of them are allowed.
        assert abs(values.mean()) < 4 / np.sqrt(values.size), weight.shape
        assert abs(values.std() - 1) < 4 / np.sqrt(2 * values.size), weight.shape


def test_every_scale_starts_at_one(model_config):
    state = nnx.state(model_config().instantiate(rngs=nnx.Rngs(0)), nnx.Param)
    scales = [param for path, param in nnx.to_flat_state(state) if path[-1] == "scale"]
    assert len(scales) == 3
    assert all((np.asarray(scale[...]) == 1).all() for scale in scales)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("fan", "variance"), [("fan_in", 0.1), ("fan_out", 0.02), (None, 2.0)])
def test_variance_is_scale_over_fan(distribution, fan, variance):
    cfg = WeightInitializer.default_config().set(distribution=distribution, fan=fan, scale=2.0)
    values = cfg.instantiate()(jax.random.key(0), (20, 10, 10), in_dims=(0,))
    scaled = np.ravel(values) / np.sqrt(variance)
    expected = stats.norm() if distribution == "normal" else stats.uniform(-(3**0.5), 2 * 3**0.5)
    assert stats.kstest(scaled, expected.cdf).pvalue > 1e-3


def test_the_first_pattern_that_matches_the_whole_name_wins():
    weights = WeightInitializer.default_config()
    cfg = DefaultInitializer.default_config().set(
        init_by_param_name={
            "weigh": weights.clone(scale=100.0),
            "w.*": weights.clone(scale=0.0),
            "weight": weights.clone(scale=1.0),
        }
    )
    values = cfg.instantiate()("weight", jax.random.key(0), (4, 4), in_dims=(0,))
    assert (np.asarray(values) == 0).all()


def test_a_name_that_no_pattern_matches_is_refused():
    init = DefaultInitializer.default_config().instantiate()
    with pytest.raises(UserError) as error:
        init("bias", jax.random.key(0), (4,), in_dims=(0,))
    assert str(error.value) == (
        "param_init.init_by_param_name: no pattern matches the parameter 'bias' "
        "(tried '.*weight$'); add one."
    )


def test_the_same_seed_gives_the_same_model_and_another_seed_another(model_config):
    first, same, other = (
        nnx.to_pure_dict(nnx.state(model_config().instantiate(rngs=nnx.Rngs(seed)), nnx.Param))
        for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, same)
    table = lambda params: params["decoder"]["emb"]["token_emb"]["weight"]  # noqa: E731
    assert not np.isclose(table(first), table(other)).any()
