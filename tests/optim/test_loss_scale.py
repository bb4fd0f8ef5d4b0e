"""Loss scaling against a loop in NumPy that follows Megatron-LM's published rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import clip_by_global_norm, dynamic_loss_scaler, param_ema
from tests.optim.random_runs import as_tree, assert_close, learner_of, random_arrays
from tests.optim.test_skip import NumpyAdamW, global_norm, optimizer

NUM_STEPS = 500
RULE = {"initial_scale": 2.0**14, "window": 7, "hysteresis": 3, "min_scale": 2.0**10}


def scaled_learner(**fields):
    return learner_of(
        optimizer().inner,
        gradient_clipping=config_for_function(clip_by_global_norm).set(max_norm=1.0),
        ema=config_for_function(param_ema).set(decay=0.9),
        loss_scaler=config_for_function(dynamic_loss_scaler).set(**{**RULE, **fields}),
    )


class MegatronScale:
    """The published rule, as a loop."""

    def __init__(self, *, initial_scale, window, hysteresis, min_scale):
        self.scale, self.window, self.hysteresis = initial_scale, window, hysteresis
        self.min_scale, self.tracker, self.left = min_scale, 0, hysteresis

    def step(self, *, overflow):
        if overflow:
            self.tracker, self.left = 0, self.left - 1
            if self.left <= 0:
                self.scale = max(self.scale * 0.5, self.min_scale)
            return
        self.tracker += 1
        if self.tracker == self.window:
            self.tracker, self.left = 0, self.hysteresis
            self.scale *= 2.0


def test_five_hundred_steps_with_overflows_equal_a_numpy_loop_that_leaves_them_out():
    learner = scaled_learner()
    update = jax.jit(learner.update)
    rng = np.random.default_rng(4)
    params = as_tree(random_arrays(0))
    state = learner.init(params)
    reference, rule, skipped = NumpyAdamW(), MegatronScale(**RULE), 0
    ema = {path: np.zeros_like(x) for path, x in reference.p.items()}
    scales, total_skipped = set(), 0
    for step in range(NUM_STEPS):
        assert learner.scale_of_loss(state) == rule.scale
        scales.add(rule.scale)
        g = random_arrays(step)
        # Phases in which hardly any step overflows, and in which every other does.
        overflow = rng.random() < (0.02 if step // 50 % 2 else 0.5)
        seen = {path: rule.scale * x for path, x in g.items()}
        if overflow:
            seen["norm/scale"][step % 5] = rng.choice([np.inf, -np.inf, np.nan])
        else:
            scale = min(1.0, 1.0 / (global_norm(g) + 1e-8))
            reference.step({path: scale * x for path, x in g.items()})
            ema = {path: 0.9 * ema[path] + 0.1 * x for path, x in reference.p.items()}
        skipped += overflow
        rule.step(overflow=overflow)
        params, state, summaries = update(as_tree(seen), state, params)
        assert summaries["loss_scale"] == rule.scale
        assert summaries["num_skipped_steps"] == skipped
        assert_close(params, reference.p)
        assert_close(state.ema.ema, ema)
        total_skipped = skipped
    assert 100 < total_skipped < 200
    assert min(scales) == RULE["min_scale"]
    assert max(scales) >= 2.0**16
    # Nothing counts a step that was left out.
    adam, descent = state.optimizer[1]
    assert adam.count == descent.count == state.ema.count == reference.t
    assert reference.t == NUM_STEPS - total_skipped


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_overflows_changes_no_bit_but_the_scale(bad):
    learner = scaled_learner(hysteresis=1)
    params = as_tree(random_arrays(0))
    params, state, _ = learner.update(as_tree(random_arrays(1)), learner.init(params), params)
    spoilt = random_arrays(2)
    spoilt["stack/weight"][2, 1, 0] = bad
    after_params, after, summaries = learner.update(as_tree(spoilt), state, params)
    jax.tree.map(np.testing.assert_array_equal, after_params, params)
    jax.tree.map(
        np.testing.assert_array_equal, (after.optimizer, after.ema), (state.optimizer, state.ema)
    )
    assert learner.scale_of_loss(state) == 2.0**14
    assert float(summaries["loss_scale"]) == 2.0**13


def test_the_defaults_leave_the_scale_at_the_first_overflow_as_a_run_of_megatron_shows():
    """A published log: initial 4294967296, hysteresis 2; after one skipped step still that."""
    scaler = dynamic_loss_scaler()
    state = scaler.init()
    seen = []
    for is_finite in (False, False, False, True):
        state = scaler.updated(state, is_finite=jnp.asarray(is_finite))
        seen.append(float(state.scale))
    assert seen == [4294967296.0, 2147483648.0, 1073741824.0, 1073741824.0]


def test_without_a_scaler_nothing_is_scaled_or_reported():
    learner = learner_of(optimizer().inner)
    params = as_tree(random_arrays(0))
    state = learner.init(params)
    assert learner.scale_of_loss(state) is None
    assert "loss_scale" not in learner.update(params, state, params).summaries


@pytest.mark.parametrize("name", ["initial_scale", "window", "hysteresis", "min_scale"])
def test_a_number_that_is_not_above_0_is_named(name):
    with pytest.raises(UserError) as error:
        dynamic_loss_scaler(**{name: 0})
    assert str(error.value) == f"learner.loss_scaler.{name} is 0: it must be above 0."
