"""What layers tell of themselves, and how it comes out of a stack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.config import Configurable, config_class
from axl_exp.errors import UserError
from axl_exp.model import (
    BaseLayer,
    DefaultInitializer,
    RematSpec,
    RepeatedTransformerLayer,
    TransformerFeedForwardLayer,
    abstract_model,
)
from axl_exp.model.summaries import collect_summaries, record_summary


def feed_forward(**fields):
    cfg = TransformerFeedForwardLayer.default_config().set(hidden_dim=4, **fields)
    param_init = DefaultInitializer.default_config().instantiate()
    return cfg.instantiate(dim=2, param_init=param_init, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("activation", "gate", "threshold"),
    [
        ("nn.relu", "linear1", 0.0),
        (("nn.silu", "linear"), "linear1_0", -10.0),
        (("nn.gelu", "linear"), "linear1_0", -4.0),
    ],
)
def test_dead_neurons_are_those_that_no_position_turns_on(activation, gate, threshold):
    layer = feed_forward(activation=activation, add_dead_neuron_summary=True)
    # Inputs normed to (1, 1) and (1, -1): units 0 and 1 stay below the threshold at both, unit 2
    # rises above it at one, unit 3 at both.
    off = threshold - 1
    weight = jnp.asarray([[off, off, 0.5, 9.0], [0.0, 0.5, threshold - 1, 0.0]])
    getattr(layer, gate).weight.set_value(weight)
    with collect_summaries() as summaries:
        layer(jnp.asarray([[[3.0, 3.0], [3.0, -3.0]]]))
    assert {name: float(value) for name, value in summaries.items()} == {
        f"feed_forward/{gate}/dead_neurons": 0.5
    }


def test_root_mean_squares_are_those_of_the_named_values():
    names = ("inputs", "linear1_outputs", "linear2_outputs")
    layer = feed_forward(add_value_rms_norm_summary=names)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 2)), jnp.float32)
    with collect_summaries() as summaries:
        y = layer(x)
    inputs = layer.norm(x)
    gate = inputs @ layer.linear1_0.weight[...]
    hidden = jax.nn.silu(gate) * (inputs @ layer.linear1_1.weight[...])
    for name, value in zip(names, (inputs, hidden, y - x), strict=True):
        expected = np.sqrt(np.mean(np.square(value)))
        assert float(summaries[f"feed_forward/{name}/rms"]) == pytest.approx(expected, rel=1e-5)


def test_a_value_that_does_not_exist_is_refused():
    with pytest.raises(UserError) as error:
        feed_forward(add_value_rms_norm_summary=("linear3_outputs",))
    assert str(error.value) == (
        "feed_forward.add_value_rms_norm_summary: 'linear3_outputs' is none of inputs, "
        "linear1_outputs, linear2_outputs."
    )


@pytest.fixture
def talkative_config(model_config):
    cfg = model_config()
    cfg.decoder.transformer.layer.feed_forward.set(
        add_dead_neuron_summary=True, add_value_rms_norm_summary=("linear2_outputs",)
    )
    return cfg


def summaries_of(cfg, batch):
    """The shapes of what the model of `cfg` tells."""

    def tell(model, batch):
        with collect_summaries() as summaries:
            model.loss(batch)
        return summaries

    return {k: v.shape for k, v in jax.eval_shape(tell, abstract_model(cfg), batch).items()}


def test_a_stack_tells_a_value_of_each_layer(talkative_config, packed_batch):
    assert summaries_of(talkative_config, packed_batch) == {
        "layer/*/feed_forward/linear1_0/dead_neurons": (3,),
        "layer/*/feed_forward/linear2_outputs/rms": (3,),
    }


class CountingLayer(BaseLayer):
    """Tells x and adds one to it."""

    @config_class
    class Config(Configurable.Config):
        """As the stack wants it."""

        remat_spec: RematSpec | None = RematSpec()

    def __init__(self, cfg, **kwargs):
        pass

    def __call__(self, x, **kwargs):
        record_summary("x", x)
        return x + 1


@pytest.mark.parametrize("unroll", [1, True])
def test_the_values_of_a_stack_are_in_the_order_of_its_layers(unroll):
    stack = RepeatedTransformerLayer.default_config().set(
        num_layers=3, layer=CountingLayer.default_config(), unroll=unroll
    )
    layers = stack.instantiate(dim=4, param_init=None, rngs=nnx.Rngs(0))
    with collect_summaries() as summaries:
        given = {"positions_BS": None, "segment_ids_BS": None, "key": jax.random.key(0)}
        assert layers(jnp.asarray(5.0), **given) == 8
    assert {name: values.tolist() for name, values in summaries.items()} == {"layer/*/x": [5, 6, 7]}


def test_outputs_are_dropped_by_pattern(talkative_config, packed_batch):
    talkative_config.decoder.transformer.drop_output = (".*/dead_neurons",)
    assert list(summaries_of(talkative_config, packed_batch)) == [
        "layer/*/feed_forward/linear2_outputs/rms"
    ]


def test_nothing_is_computed_that_nobody_collects(talkative_config, model_config, packed_batch):
    jaxprs = [
        str(
            jax.make_jaxpr(lambda model, batch: model.loss(batch))(
                abstract_model(cfg), packed_batch
            )
        )
        for cfg in (talkative_config, model_config())
    ]
    assert jaxprs[0] == jaxprs[1]


def test_no_gradient_flows_through_a_summary():
    def of(x):
        with collect_summaries() as summaries:
            record_summary("x", x * x)
        return summaries["x"]

    assert jax.grad(of)(3.0) == 0


def test_a_name_is_recorded_once():
    with collect_summaries(), pytest.raises(ValueError, match="'x' is recorded twice"):
        record_summary("x", jnp.zeros(()))
        record_summary("x", jnp.zeros(()))
