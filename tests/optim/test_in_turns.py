"""A state that waits in the host's memory and comes in turns, against one that stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.dryrun.compiled.topology import Topology, devices_of, prepare_environment
from axl_exp.optim import (
    adafactor,
    adamw,
    adastar_optimizer,
    clip_by_global_norm,
    constant,
    dynamic_loss_scaler,
    learner_context,
    lion,
    muon,
    param_ema,
    skip_and_clip_by_global_norm,
)
from axl_exp.optim import learner as learner_module
from tests.optim.random_runs import LOGICAL_AXES, as_tree, learner_of, random_arrays, run
from tests.optim.test_adastar import ALL_STAGES

ADASTAR = ALL_STAGES | {"verbosity": 1}
CASES = {
    "adamw": (adamw, {"weight_decay": 0.1}),
    "lion": (lion, {"weight_decay": 0.1}),
    "muon": (muon, {}),
    "adafactor": (adafactor, {"momentum": 0.9}),
    "adastar": (adastar_optimizer, ADASTAR),
}


def optimizer(name):
    fn, fields = CASES[name]
    rate = {} if "learning_rate" in fields else {"learning_rate": 0.01}
    schedule = config_for_function(constant)
    return config_for_function(fn).set(**fields, **rate, update_schedule=schedule)


def gradients():
    for step in range(6):
        g = random_arrays(step)
        if step == 3:
            g["norm/scale"][1] = np.inf  # Skipped where steps are skipped.
        yield g


def assert_same(fields, inputs):
    """Each rounds its sums once or twice, as the compiler fuses them: 6 steps of 6e-8."""
    runs = [run(learner_of(**fields, optimizer_memory=m), inputs) for m in (None, "pinned_host")]
    for here, there in zip(*runs, strict=True):
        assert here[2].keys() == there[2].keys()
        assert jax.tree.structure(here[1]) == jax.tree.structure(there[1])
        for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_gives_the_same_numbers(name):
    skipping = config_for_function(skip_and_clip_by_global_norm).set(
        inner=optimizer(name), drop_norm=100.0, max_norm=1.0
    )
    assert_same({"optimizer": skipping}, list(gradients()))


def test_clipping_scaling_the_mean_and_frozen_parameters_are_as_without():
    fields = {
        "optimizer": optimizer("adamw"),
        "gradient_clipping": config_for_function(clip_by_global_norm).set(max_norm=1.0),
        "loss_scaler": config_for_function(dynamic_loss_scaler).set(initial_scale=8.0, window=2),
        "ema": config_for_function(param_ema).set(decay=0.9),
        "enable_per_variable_summaries": True,
    }
    assert_same(fields, list(gradients()))
    assert_same(fields | {"frozen_params": ("norm/scale",)}, list(gradients()))


def traced(learner):
    params = as_tree(random_arrays(0))
    state = learner.init(params)
    return jax.make_jaxpr(learner.update)(params, state, params)


def test_all_but_the_first_fetch_wait_for_the_parameter_before():
    learner = learner_of(optimizer("adamw"), optimizer_memory="pinned_host")
    barriers = [e for e in traced(learner).eqns if e.primitive.name == "optimization_barrier"]
    # Two parameters. Of the second come both moments, behind a moment of the first.
    assert [[v.aval.shape for v in e.invars] for e in barriers] == [[(3, 4, 2), (3, 4, 2), (5,)]]
    stays = traced(learner_of(optimizer("adamw")))
    assert "optimization_barrier" not in str(stays)


def test_decays_and_scales_are_told_once():
    told = []
    for memory in (None, "pinned_host"):
        with learner_context(LOGICAL_AXES) as context:
            traced(learner_of(optimizer("adamw"), optimizer_memory=memory))
        told.append(context.param_factors)
    assert told[0] == told[1]
    assert told[0]["weight_decay"]["norm/scale"] == pytest.approx(0.001)


@pytest.mark.slow
def test_a_state_that_has_no_room_on_the_chip_fits_in_turns_and_does_not_at_once(monkeypatch):
    """By libtpu for one chip of v5e, 15.75 GiB: 6 of parameters, 6 of gradients, 12 of moments."""
    pytest.importorskip("libtpu")
    prepare_environment()
    device = devices_of(Topology("tpu", "v5e:1x1"))[0]
    on_chip = jax.sharding.SingleDeviceSharding(device)
    on_host = on_chip.with_memory_kind("pinned_host")
    params = {
        f"p{i}": jax.ShapeDtypeStruct((2**14, 2**13), jnp.float32, sharding=on_chip)
        for i in range(12)
    }

    def compile_update():
        learner = learner_of(optimizer("adamw"), optimizer_memory="pinned_host")
        learner._logical_axes = None
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=on_host if x.ndim else on_chip
            ),
            jax.eval_shape(learner.init, params),
        )
        where = jax.tree.map(lambda x: x.sharding, (params, state))

        def loss(params, x):
            return sum(jnp.mean(jnp.tanh(x @ p)) for p in params.values())

        def step(params, state, x):
            output = learner.update(jax.grad(loss)(params, x), state, params)
            return output.params, output.state

        x = jax.ShapeDtypeStruct((16, 2**14), jnp.float32, sharding=on_chip)
        jitted = jax.jit(step, donate_argnums=(0, 1), out_shardings=where)
        return jitted.lower(params, state, x).compile()

    memory = compile_update().memory_analysis()
    assert memory is not None
    assert memory.host_argument_size_in_bytes == 12 * 2**30
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert 12 * 2**30 < held < 15.75 * 2**30

    def at_once(advance, state, *, params):
        return advance(jax.device_put(state, jax.memory.Space.Device))

    monkeypatch.setattr(learner_module, "advance_in_turns", at_once)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Ran out of memory"):
        compile_update()
