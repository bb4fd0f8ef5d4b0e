"""Skipped steps, clipping and moving thresholds against loops in NumPy."""

import jax
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import (
    adamw,
    clip_by_global_norm,
    cosine_with_linear_warmup,
    drop_norm_by_grad_norm_ema,
    drop_norm_by_grad_norm_stddev,
    skip_and_clip_by_global_norm,
)
from tests.optim.random_runs import (
    as_tree,
    assert_close,
    global_norm,
    learner_of,
    random_arrays,
    run,
)

NUM_STEPS = 300


def optimizer(**fields):
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=200, warmup_steps=20, alpha=0.1
    )
    inner = config_for_function(adamw).set(
        learning_rate=1e-2, weight_decay=0.1, update_schedule=schedule
    )
    return config_for_function(skip_and_clip_by_global_norm).set(inner=inner, **fields)


def gradients_with_accidents():
    """Gradients of norm around 2.5; every 7th or so is far too large, nan or infinite."""
    rng = np.random.default_rng(1)
    for step in range(NUM_STEPS):
        g = random_arrays(step, size=0.5 * rng.uniform(0.2, 2.0))
        match rng.integers(0, 20):
            case 0:
                g["norm/scale"][3] = np.nan
            case 1:
                g["stack/weight"][1, 0, 0] = -np.inf
            case 2:
                g = {path: 100.0 * x for path, x in g.items()}
        yield g


def rate_at(t):
    if t <= 20:
        return 1e-2 * t / 20
    return 1e-2 * (0.9 * 0.5 * (1 + np.cos(np.pi * min(t - 20, 180) / 180)) + 0.1)


class NumpyAdamW:
    """Loshchilov and Hutter's algorithm 2, decay times rate."""

    def __init__(self):
        self.p = random_arrays(0)
        self.m = {path: np.zeros_like(x) for path, x in self.p.items()}
        self.v = {path: np.zeros_like(x) for path, x in self.p.items()}
        self.t = 0

    def step(self, g):
        self.t += 1
        for path in self.p:
            self.m[path] = 0.9 * self.m[path] + 0.1 * g[path]
            self.v[path] = 0.95 * self.v[path] + 0.05 * g[path] ** 2
            m_hat = self.m[path] / (1 - 0.9**self.t)
            v_hat = self.v[path] / (1 - 0.95**self.t)
            direction = m_hat / (np.sqrt(v_hat) + 1e-8) + 0.1 * self.p[path]
            self.p[path] = self.p[path] - rate_at(self.t) * direction


def test_three_hundred_steps_with_accidents_equal_a_numpy_loop_that_leaves_them_out():
    learner = learner_of(optimizer(drop_norm=100, max_norm=1))
    reference, skipped = NumpyAdamW(), 0
    gradients = list(gradients_with_accidents())
    outputs = list(run(learner, gradients))
    for g, (params, _, summaries) in zip(gradients, outputs, strict=True):
        norm = global_norm(g)
        if norm < 100:  # False for nan
            scale = min(1.0, 1.0 / (norm + 1e-8))
            reference.step({path: scale * x for path, x in g.items()})
            assert summaries["gradient_scale"] == pytest.approx(scale, rel=1e-5)
            assert summaries["learning_rate"] == pytest.approx(rate_at(reference.t), rel=1e-5)
        else:
            skipped += 1
        assert summaries["nonvalid_count"] == skipped
        assert_close(params, reference.p)
        assert np.isnan(summaries["gradient_norm"]) == np.isnan(norm)
    assert 20 < skipped < 80
    adam, descent = outputs[-1][1].optimizer[0].inner_state
    assert adam.count == descent.count == reference.t == NUM_STEPS - skipped
    assert_close(adam.mu, reference.m)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e3])
def test_a_skipped_step_changes_no_bit_but_its_count(bad):
    learner = learner_of(optimizer(drop_norm=100.0))
    good, spoilt = random_arrays(1), random_arrays(2)
    spoilt["norm/scale"][0] = bad
    before, after = list(run(learner, [good, spoilt]))
    before_inner, after_inner = (x[1].optimizer[0].inner_state for x in (before, after))
    jax.tree.map(np.testing.assert_array_equal, before[0], after[0])
    jax.tree.map(np.testing.assert_array_equal, before_inner, after_inner)
    assert after[1].optimizer[0].nonvalid_count == 1


def test_without_drop_norm_only_what_is_not_finite_is_skipped():
    huge, spoilt = random_arrays(1, size=1e6), random_arrays(2)
    spoilt["stack/weight"][0, 0, 0] = np.nan
    outputs = list(run(learner_of(optimizer()), [huge, spoilt]))
    assert [summaries["nonvalid_count"] for _, _, summaries in outputs] == [0, 1]
    assert "gradient_scale" not in outputs[0][2]


def numpy_statistics(norms, thresholds_of, *, decay=0.99):
    """For each norm: whether it is kept, and mean and deviation after it."""
    mean, variance, count = 0.0, 0.0, 0
    for norm in norms:
        kept = norm < min(thresholds_of(count, mean, np.sqrt(variance)))
        if kept:
            count += 1
            d = decay * (1 - decay ** (count - 1)) / (1 - decay**count)
            mean = d * mean + (1 - d) * norm
            variance = d * variance + (1 - d) * (norm - mean) ** 2
        yield kept, mean, np.sqrt(variance)


def below_multiples_of_the_mean(count, mean, stddev):
    return [np.inf] if count == 0 else [1.5 * mean, 4 * mean]


def below_deviations_over_the_mean(count, mean, stddev):
    return [np.inf] if count < 30 else [mean + 1.5 * stddev, mean + 4 * stddev]


@pytest.mark.parametrize(
    ("rule", "thresholds_of", "names"),
    [
        (
            config_for_function(drop_norm_by_grad_norm_ema).set(multipliers=(1.5, 4)),
            below_multiples_of_the_mean,
            ("1.5x_mean", "4x_mean"),
        ),
        (
            config_for_function(drop_norm_by_grad_norm_stddev).set(
                multipliers=(1.5, 4), min_count=30
            ),
            below_deviations_over_the_mean,
            ("1.5x_stddev", "4x_stddev"),
        ),
    ],
)
def test_three_hundred_moving_thresholds_equal_a_numpy_loop(rule, thresholds_of, names):
    # Norms that fall from 20 to 1, as in a run, with noise and outliers.
    rng = np.random.default_rng(3)
    sizes = np.linspace(20, 1, NUM_STEPS) * np.exp(rng.normal(size=NUM_STEPS) * 0.3)
    sizes[rng.random(NUM_STEPS) < 0.05] *= 10
    gradients = [
        {path: size * x / global_norm(random_arrays(i)) for path, x in random_arrays(i).items()}
        for i, size in enumerate(sizes)
    ]
    expected = list(numpy_statistics(sizes, thresholds_of))
    outputs = list(run(learner_of(optimizer(drop_norm=rule, max_norm=1.0)), gradients))
    skipped = np.cumsum([not kept for kept, _, _ in expected])
    assert 10 < skipped[-1] < 150
    for (_, _, summaries), (_, mean, stddev), count in zip(outputs, expected, skipped, strict=True):
        assert summaries["nonvalid_count"] == count
        assert summaries["gradient_norm_mean"] == pytest.approx(mean, rel=1e-4)
        assert summaries["gradient_norm_stddev"] == pytest.approx(stddev, rel=1e-3, abs=1e-5)
    last = outputs[-1][2]
    assert last[f"num_exceeds_{names[0]}"] == skipped[-1]
    assert 0 < last[f"num_exceeds_{names[1]}"] < skipped[-1]


def test_the_first_norm_is_dropped_by_no_moving_threshold():
    rule = config_for_function(drop_norm_by_grad_norm_ema)
    first = random_arrays(1, size=1e4)
    _, _, summaries = next(run(learner_of(optimizer(drop_norm=rule)), [first]))
    assert summaries["nonvalid_count"] == 0
    assert summaries["gradient_norm_mean"] == pytest.approx(global_norm(first), rel=1e-5)


def test_clipping_twice_is_refused():
    clip = config_for_function(clip_by_global_norm).set(max_norm=1.0)
    learner = learner_of(optimizer(max_norm=1.0), gradient_clipping=clip)
    params = as_tree(random_arrays(0))
    with pytest.raises(UserError) as error:
        learner.update(params, learner.init(params), params)
    assert str(error.value) == (
        "learner: two transformations report 'gradient_scale', so one of them is there twice (say, "
        "learner.gradient_clipping beside a max_norm of the optimizer); drop one."
    )
