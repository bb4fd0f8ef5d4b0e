"""Optimizer state that waits in the host's memory, or is kept in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.optim import adafactor, adamw, adastar_optimizer, lion, muon, param_ema, sgd
from axl_exp.train.checkpointer import Checkpointer
from axl_exp.train.memory import bytes_per_device, host_bytes_per_device
from axl_exp.train.state import TrainState
from tests.optim.test_adastar import ALL_STAGES, HONEYCRISP
from tests.train.test_step import constant, tiny_config, uneven_batch


def trainer_of(fn, *, memory=None, **fields):
    cfg = tiny_config()
    fields = {"learning_rate": 0.01, **fields}
    optimizer = config_for_function(fn).set(update_schedule=config_for_function(constant), **fields)
    ema = config_for_function(param_ema).set(decay=0.9)
    cfg.learner.set(optimizer=optimizer, ema=ema, optimizer_memory=memory)
    return cfg.instantiate(devices=jax.devices()[:1])


def batch_of(trainer) -> dict[str, np.ndarray]:
    return trainer.put({key: np.asarray(x) for key, x in uneven_batch().items()})


def kinds(tree):
    return {leaf.sharding.memory_kind for leaf in jax.tree.leaves(tree) if leaf.ndim}


def test_moments_wait_on_the_host_between_steps_and_the_numbers_are_the_same(tmp_path):
    here, there = trainer_of(adamw), trainer_of(adamw, memory="pinned_host")
    states: list[TrainState] = []
    for trainer in (here, there):
        step, state = trainer.compile(), trainer.init_state()
        for _ in range(3):
            state, _ = step(state, batch_of(trainer))
        states.append(state)
    # But for the last bit: the compiler fuses another program, and rounds a sum once or twice.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), *states)
    assert kinds(states[0].opt_state.optimizer) == {"device"}
    assert kinds(states[1].opt_state.optimizer) == {"pinned_host"}
    # What else there is stays.
    assert kinds((states[1].params, states[1].opt_state.ema)) == {"device"}

    checkpointer = Checkpointer.default_config().instantiate(directory=tmp_path / "checkpoints")
    checkpointer.save(3, state=states[1], data_state={})
    checkpointer.wait()
    restored = checkpointer.restore(there.abstract_state).state
    checkpointer.close()
    assert kinds(restored.opt_state.optimizer) == {"pinned_host"}
    jax.tree.map(np.testing.assert_array_equal, restored, states[1])


def test_the_program_takes_and_gives_the_moments_in_the_memory_of_the_host():
    text = trainer_of(adamw, memory="pinned_host").lower().as_text()
    num_params = len(jax.tree.leaves(trainer_of(adamw).abstract_state.params))
    head = text[text.index("@main") : text.index("{\n", text.index("@main"))]
    taken, given = head.split("->")
    assert taken.count('"pinned_host"') == given.count('"pinned_host"') == 2 * num_params


def test_what_waits_on_the_host_is_counted_apart():
    state = trainer_of(adamw, memory="pinned_host").abstract_state
    assert host_bytes_per_device(state.opt_state) == 2 * bytes_per_device(state.params)
    assert host_bytes_per_device(trainer_of(adamw).abstract_state.opt_state) == 0


@pytest.mark.parametrize(
    ("fn", "fields", "num_moments"),
    [
        (adamw, {"mu_dtype": jnp.bfloat16}, 1),
        (lion, {"mu_dtype": jnp.bfloat16}, 1),
        (muon, {"mu_dtype": jnp.bfloat16}, 1),
        (sgd, {"momentum": 0.9, "momentum_dtype": jnp.bfloat16}, 1),
        (adafactor, {"momentum": 0.9, "momentum_dtype": jnp.bfloat16}, 1),
        (adastar_optimizer, HONEYCRISP | {"ema_dtype": jnp.bfloat16}, 1),
        (adastar_optimizer, ALL_STAGES | {"ema_dtype": jnp.bfloat16}, 2),
    ],
)
def test_the_first_moment_of_every_optimizer_can_be_bfloat16_and_stays_so(fn, fields, num_moments):
    trainer = trainer_of(fn, **fields)
    before = trainer.abstract_state
    after, _ = jax.eval_shape(trainer.step, before, uneven_batch())
    num_params = len(jax.tree.leaves(before.params))
    for state in (before, after):
        halves = [x for x in jax.tree.leaves(state.opt_state.optimizer) if x.dtype == jnp.bfloat16]
        assert len(halves) == num_moments * num_params
