"""Adastar against a loop in NumPy, and against the optimizers that are cases of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axl_exp.config import config_for_function
from axl_exp.optim import (
    adamw,
    adastar_optimizer,
    constant,
    cosine_with_linear_warmup,
    per_param_scale_by_path,
    scale_update_per_param,
    skip_and_clip_by_global_norm,
)
from tests.optim.random_runs import (
    SHAPES,
    as_tree,
    assert_close,
    global_norm,
    learner_of,
    random_arrays,
    rms,
    run,
)

NUM_STEPS = 200
# The 3B honeycrisp's, with a schedule that is over within the test.
HONEYCRISP = {
    "learning_rate": 0.01,
    "gradient_ema_decay": None,
    "gradient_ema_debias": None,
    "gradient_square_ema_decay": 0.95,
    "gradient_square_ema_debias": True,
    "eps": 0,
    "eps_square": 1e-30,
    "raw_update_clipping_threshold": 1.0,
    "update_ema_decay": 0.95,
    "update_ema_debias": False,
    "weight_decay": 0.000316,
    "verbosity": 0,
}
ALL_STAGES = HONEYCRISP | {
    "gradient_ema_decay": 0.8,
    "gradient_ema_debias": True,
    "gradient_square_ema_debias": False,
    "eps": 1e-3,
    "eps_square": 1e-4,
    "raw_update_clipping_threshold": 0.7,
    "update_ema_debias": True,
    "weight_decay": 0.03,
}


def optimizer(fields, *, update_scale=None):
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=150, warmup_steps=10, alpha=0.005
    )
    cfg = config_for_function(adastar_optimizer).set(**fields, update_schedule=schedule)
    if update_scale is not None:
        scales = config_for_function(per_param_scale_by_path).set(
            description="a test", scale_by_path=[(".*/weight", update_scale)]
        )
        cfg.adam_update_transformation = config_for_function(scale_update_per_param).set(
            per_param_scale=scales
        )
    return cfg


def schedule_at(t):
    if t <= 10:
        return t / 10
    return 0.995 * 0.5 * (1 + np.cos(np.pi * min(t - 10, 140) / 140)) + 0.005


class NumpyAdastar:
    def __init__(self, fields, *, update_scale=1.0):
        self.f, self.update_scale = fields, update_scale
        self.p, self.t = random_arrays(0), 0
        self.means = {}

    def ema(self, name, path, x, *, debias):
        decay = self.f[f"{name}_decay"]
        if decay is None:
            return x
        mean = decay * self.means.get((name, path), 0.0) + (1 - decay) * x
        self.means[name, path] = mean
        return mean / (1 - decay**self.t) if debias else mean

    def step(self, g):
        f = self.f
        self.t += 1
        for path, p in self.p.items():
            m = self.ema("gradient_ema", path, g[path], debias=f["gradient_ema_debias"])
            square = g[path] ** 2 + f["eps_square"]
            debias = f["gradient_square_ema_debias"]
            v = self.ema("gradient_square_ema", path, square, debias=debias)
            r = m / (np.sqrt(v) + f["eps"])
            threshold = f["raw_update_clipping_threshold"]
            if threshold is not None:
                # The weight is a stack: each of its layers is a block of its own.
                blocks = r if path == "stack/weight" else r[None]
                r = np.stack([b / max(1.0, rms(b) / threshold) for b in blocks]).reshape(r.shape)
            u = self.ema("update_ema", path, r, debias=f["update_ema_debias"])
            if path == "stack/weight":
                u = self.update_scale * u
            rate = schedule_at(self.t)
            self.p[path] = p - rate * (f["learning_rate"] * u + f["weight_decay"] * p)


def gradients():
    """Layers of very different sizes, growing and shrinking: clipping is at work in most steps."""
    for step in range(NUM_STEPS):
        g = random_arrays(step, size=np.exp(np.sin(step)))
        g["stack/weight"] *= np.array([0.01, 1.0, 30.0]).reshape(3, 1, 1)
        yield g


@pytest.mark.parametrize(("fields", "scale"), [(HONEYCRISP, 0.25), (ALL_STAGES, None)])
def test_two_hundred_steps_equal_a_numpy_loop(fields, scale):
    reference = NumpyAdastar(fields, update_scale=1.0 if scale is None else scale)
    learner = learner_of(optimizer(fields, update_scale=scale))
    inputs = list(gradients())
    for g, (params, _, summaries) in zip(inputs, run(learner, inputs), strict=True):
        reference.step(g)
        assert_close(params, reference.p)
        rate = 0.01 * schedule_at(reference.t)
        assert summaries["learning_rate"] == pytest.approx(rate, rel=1e-5)


def test_honeycrisp_skips_within_a_skipping_optimizer_as_a_numpy_loop_does():
    outer = config_for_function(skip_and_clip_by_global_norm).set(
        inner=optimizer(HONEYCRISP, update_scale=0.25), drop_norm=100, max_norm=1, eps=1e-8
    )
    reference = NumpyAdastar(HONEYCRISP, update_scale=0.25)
    inputs = list(gradients())
    outputs = list(run(learner_of(outer), inputs))
    for g, (params, _, _) in zip(inputs, outputs, strict=True):
        norm = global_norm(g)
        if norm < 100:
            reference.step({path: x * min(1.0, 1 / (norm + 1e-8)) for path, x in g.items()})
        assert_close(params, reference.p)
    assert outputs[-1][2]["nonvalid_count"] == NUM_STEPS - reference.t
    assert 20 < reference.t < 180


def test_means_in_bfloat16_are_rounded_where_they_are_kept_and_nowhere_else():
    fields = ALL_STAGES | {"ema_dtype": jnp.bfloat16}
    learner, reference = learner_of(optimizer(fields)), NumpyAdastar(ALL_STAGES)
    inputs = list(gradients())[:20]
    for g, (params, state, _) in zip(inputs, run(learner, inputs), strict=True):
        reference.step(g)
        assert_close(params, reference.p)
        (adastar, _), *_ = state.optimizer
        for name, kept in (
            ("gradient_ema", adastar.gradient_ema),
            ("update_ema", adastar.update_ema),
        ):
            for path in SHAPES:
                exact = reference.means[name, path]
                stored = np.asarray(optax.tree.get(kept, path.split("/")[1]), np.float64)
                # Half a unit in the last of 8 bits, and what float32 adds to it: half a unit in the
                # last of 24 of each of two terms, which may cancel.
                noise = 2**-23 * np.abs(exact).max()
                np.testing.assert_allclose(stored, exact, rtol=2**-8 * 1.001, atol=noise)
                # The next step begins with what was kept.
                reference.means[name, path] = stored
        squares = jax.tree.leaves(adastar.gradient_square_ema)
        assert all(x.dtype == jnp.float32 for x in squares)


def test_layers_are_clipped_as_if_they_were_parameters_of_their_own():
    cfg = optimizer(HONEYCRISP)
    (params, _, _) = next(run(learner_of(cfg), [next(gradients())]))
    start, g = as_tree(random_arrays(0)), as_tree(next(gradients()))
    unrolled = learner_of(cfg)
    # Without `layers`, and with one dim less, each layer is a whole parameter.
    unrolled._logical_axes = {f"stack/{i}": ("embed", "feed_forward") for i in range(3)}
    layers = {"stack": {str(i): start["stack"]["weight"][i] for i in range(3)}}
    g_layers = {"stack": {str(i): g["stack"]["weight"][i] for i in range(3)}}
    output = unrolled.update(g_layers, unrolled.init(layers), layers)
    for i in range(3):
        np.testing.assert_allclose(
            params["stack"]["weight"][i], output.params["stack"][str(i)], rtol=1e-6
        )


def test_adamw_is_a_case():
    schedule = config_for_function(constant).set(value=1.0)
    fields = HONEYCRISP | {
        "gradient_ema_decay": 0.9,
        "gradient_ema_debias": True,
        "eps": 1e-8,
        "eps_square": 0.0,
        "raw_update_clipping_threshold": None,
        "update_ema_decay": None,
        # AdamW's is a multiple of its learning rate.
        "weight_decay": 0.01 * 0.1,
    }
    ours = config_for_function(adastar_optimizer).set(**fields, update_schedule=schedule)
    adam = config_for_function(adamw).set(
        learning_rate=0.01, weight_decay=0.1, update_schedule=schedule
    )
    inputs = list(gradients())[:40]
    for a, b in zip(run(learner_of(ours), inputs), run(learner_of(adam), inputs), strict=True):
        assert_close(a[0], {k: np.asarray(b[0][k.split("/")[0]][k.split("/")[1]]) for k in SHAPES})


def test_verbosity_reports_the_size_of_every_update():
    learner = learner_of(optimizer(HONEYCRISP | {"verbosity": 1}))
    _, state, summaries = next(run(learner, [random_arrays(1)]))
    # From the first gradient, r is the sign of g, of size 1 everywhere; and u a twentieth of it.
    for path in SHAPES:
        assert summaries[f"raw_update_rms/{path}"] == pytest.approx(1.0, rel=1e-5)
        assert summaries[f"update_rms/{path}"] == pytest.approx(0.05, rel=1e-5)
    assert optax.tree.get(state, "gradient_ema") is None
