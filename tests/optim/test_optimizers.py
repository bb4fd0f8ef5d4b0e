"""Lion, SGD, Adafactor and Muon against loops in NumPy; scales by path in all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import (
    Learner,
    adafactor,
    adamw,
    constant,
    lion,
    muon,
    per_param_scale_by_path,
    sgd,
    warmup_stable_decay,
)
from tests.optim.random_runs import (
    as_tree,
    assert_close,
    learner_of,
    random_arrays,
    rms,
    run,
)

NUM_STEPS = 100
RATE, DECAY = 1e-2, 0.3


def optimizer(fn, **fields):
    schedule = config_for_function(warmup_stable_decay).set(
        peak_lr=1.0, max_step=90, warmup_steps=10, decay_steps=40, decay="linear"
    )
    return config_for_function(fn).set(
        learning_rate=RATE, weight_decay=DECAY, update_schedule=schedule, **fields
    )


def rate_at(t):
    return RATE * (t / 10 if t <= 10 else 1 if t <= 50 else max(0.0, (90 - t) / 40))


def check(cfg, direction):
    """`direction(path, g, p, t)` gives u of p ← p - rate · (u + decay · p)."""
    p = random_arrays(0)
    gradients = [random_arrays(step, size=np.exp(np.sin(step))) for step in range(NUM_STEPS)]
    for t, (g, output) in enumerate(
        zip(gradients, run(learner_of(cfg), gradients), strict=True), start=1
    ):
        p = {k: p[k] - rate_at(t) * (direction(k, g[k], p[k], t) + DECAY * p[k]) for k in p}
        assert_close(output[0], p)
        assert output[2]["learning_rate"] == pytest.approx(rate_at(t), rel=1e-5, abs=1e-9)


def test_a_hundred_steps_of_lion_equal_a_numpy_loop():
    m = dict.fromkeys(random_arrays(0), 0.0)

    def direction(path, g, p, t):
        u = np.sign(0.9 * m[path] + 0.1 * g)
        m[path] = 0.99 * m[path] + 0.01 * g
        return u

    check(optimizer(lion), direction)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_hundred_steps_of_sgd_equal_a_numpy_loop(momentum, nesterov):
    m = dict.fromkeys(random_arrays(0), 0.0)

    def direction(path, g, p, t):
        m[path] = g + momentum * m[path]
        return g + momentum * m[path] if nesterov else m[path]

    check(optimizer(sgd, momentum=momentum, nesterov=nesterov), direction)


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("min_dim_size_to_factor", [2, 128])
def test_a_hundred_steps_of_adafactor_equal_a_numpy_loop(min_dim_size_to_factor, momentum):
    v, row, column = ({}, {}, {})
    mean = dict.fromkeys(random_arrays(0), 0.0)

    def root_v(key, g, beta):
        square = g**2 + 1e-30
        if g.ndim == 2 and min_dim_size_to_factor == 2:
            row[key] = beta * row.get(key, 0.0) + (1 - beta) * square.mean(axis=1)
            column[key] = beta * column.get(key, 0.0) + (1 - beta) * square.mean(axis=0)
            return np.sqrt(np.outer(row[key], column[key]) / row[key].mean())
        v[key] = beta * v.get(key, 0.0) + (1 - beta) * square
        return np.sqrt(v[key])

    def direction(path, g, p, t):
        beta = 1 - t**-0.8
        layers = range(3) if path == "stack/weight" else [...]
        r = np.empty_like(g)
        for i in layers:
            r[i] = g[i] / root_v((path, i), g[i], beta)
            r[i] /= max(1.0, rms(r[i]))
        if momentum is not None:
            r = mean[path] = momentum * mean[path] + (1 - momentum) * r
        scaled = np.empty_like(r)
        for i in layers:
            scaled[i] = r[i] * max(1e-3, rms(p[i]))
        return scaled

    fields = {"min_dim_size_to_factor": min_dim_size_to_factor, "momentum": momentum}
    check(optimizer(adafactor, **fields), direction)


def newton_schulz(matrix):
    """Jordan's quintic iteration, on the wide orientation."""
    x = matrix / (np.linalg.norm(matrix) + 1e-8)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_a_hundred_steps_of_muon_equal_a_numpy_loop_and_adam_has_the_rest():
    m = dict.fromkeys(random_arrays(0), 0.0)
    v = dict.fromkeys(random_arrays(0), 0.0)

    def direction(path, g, p, t):
        if path == "stack/weight":
            m[path] = 0.95 * m[path] + 0.05 * g
            ahead = 0.95 * m[path] / (1 - 0.95 ** (t + 1)) + 0.05 * g / (1 - 0.95**t)
            return 0.2 * np.sqrt(4) * np.stack([newton_schulz(layer) for layer in ahead])
        m[path] = 0.9 * m[path] + 0.1 * g
        v[path] = 0.95 * v[path] + 0.05 * g**2
        return m[path] / (1 - 0.9**t) / (np.sqrt(v[path] / (1 - 0.95**t)) + 1e-8)

    check(optimizer(muon), direction)


def test_muon_sees_a_fused_weight_as_one_matrix():
    # [layers, embed, heads, head_dim] is embed against the heads.
    weight = jax.random.normal(jax.random.key(0), (2, 6, 3, 4))
    gradient = jax.random.normal(jax.random.key(1), weight.shape)
    schedule = config_for_function(constant)
    cfg = Learner.default_config().set(
        optimizer=config_for_function(muon).set(learning_rate=1.0, update_schedule=schedule)
    )
    learner = cfg.instantiate(logical_axes={"w": ("layers", "embed", "heads", "head_dim")})
    output = learner.update({"w": gradient}, learner.init({"w": weight}), {"w": weight})
    update = np.asarray(weight - output.params["w"], np.float64).reshape(2, 6, 12)
    for layer, g in zip(update, np.asarray(gradient, np.float64).reshape(2, 6, 12), strict=True):
        np.testing.assert_allclose(layer, 0.2 * np.sqrt(12) * newton_schulz(g), atol=1e-5)
        # Close to orthogonal: all singular values of NS are around 1.
        singular = np.linalg.svd(layer / (0.2 * np.sqrt(12)), compute_uv=False)
        assert 0.5 < singular.min() <= singular.max() < 1.3


def test_muon_without_logical_axes_is_refused():
    schedule = config_for_function(constant)
    cfg = Learner.default_config().set(
        optimizer=config_for_function(muon).set(learning_rate=1.0, update_schedule=schedule)
    )
    with pytest.raises(UserError) as error:
        cfg.instantiate().init(as_tree(random_arrays(0)))
    assert str(error.value) == (
        "muon: which parameters are matrices is read from their logical axes; make the Learner "
        "with instantiate(logical_axes=...), as SpmdTrainer does."
    )


@pytest.mark.parametrize("fn", [adamw, lion, sgd, adafactor, muon])
def test_rate_and_decay_are_scaled_by_path(fn):
    """Scales of 1/2 and 3 on the stack are a rate of 1/2 and a decay of 3 on the stack alone."""

    def scale(value):
        return config_for_function(per_param_scale_by_path).set(
            description="a test", scale_by_path=[("stack/.*", value), (".*", 1.0)]
        )

    scaled = optimizer(
        fn, weight_decay_per_param_scale=scale(3.0), learning_rate_per_param_scale=scale(0.5)
    )
    separate = optimizer(fn).set(learning_rate=0.5 * RATE, weight_decay=3 * DECAY)
    one = [random_arrays(1)]
    (ours, _, summaries), (stack, _, _), (rest, _, _) = (
        next(run(learner_of(cfg), one)) for cfg in (scaled, separate, optimizer(fn))
    )
    np.testing.assert_allclose(ours["stack"]["weight"], stack["stack"]["weight"], rtol=1e-6)
    np.testing.assert_allclose(ours["norm"]["scale"], rest["norm"]["scale"], rtol=1e-6)
    assert summaries["learning_rate"] == pytest.approx(RATE / 10)


@pytest.mark.parametrize(
    ("fn", "fields", "name"),
    [
        (adamw, {"mu_dtype": jnp.bfloat16}, "mu"),
        (lion, {"mu_dtype": jnp.bfloat16}, "mu"),
        (sgd, {"momentum": 0.9, "momentum_dtype": jnp.bfloat16}, "trace"),
        (adafactor, {"momentum": 0.9, "momentum_dtype": jnp.bfloat16}, "ema"),
    ],
)
def test_a_momentum_in_bfloat16_stays_within_its_rounding(fn, fields, name):
    inputs = [random_arrays(step) for step in range(20)]

    def momenta(fields):
        outputs = run(learner_of(optimizer(fn, **fields)), inputs)
        return [jax.tree.leaves(optax.tree.get(output[1].optimizer, name)) for output in outputs]

    half = momenta(fields)
    exact = momenta({key: x for key, x in fields.items() if not key.endswith("dtype")})
    # Each of the steps rounds to 8 bits, half a unit of the last at most; none makes it larger.
    largest = max(float(jnp.abs(leaf).max()) for leaves in half for leaf in leaves)
    bound = len(inputs) * 2**-9 * largest
    for a, b in zip(half[-1], exact[-1], strict=True):
        assert (a.dtype, b.dtype) == (jnp.bfloat16, jnp.float32)
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=0, atol=bound)
