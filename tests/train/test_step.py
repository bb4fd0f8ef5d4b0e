"""The train step: parts of a batch, keys of steps, metrics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.config import config_for_function
from axl_exp.errors import UserError
from axl_exp.optim import constant, dynamic_loss_scaler, sgd
from axl_exp.registry import load_config
from axl_exp.train.step import dropout_key, scalar_metrics


def tiny_config(**fields):
    """A trainer config of one small layer whose update is its gradient: params - 1 · gradient."""
    cfg = load_config("fuji-tiny").config.clone(evalers={}, train_dtype=jnp.float32, **fields)
    cfg.input.set(global_batch_size=4, max_sequence_length=8)
    cfg.model.set(z_loss_scale=1e-2)
    decoder = cfg.model.decoder.set(vocab_size=32, dim=16)
    decoder.transformer.num_layers = 1
    layer = decoder.transformer.layer
    layer.self_attention.attention.num_heads = 2
    layer.self_attention.attention.input_linear.input_linear.num_kv_heads = 1
    layer.feed_forward.set(hidden_dim=24, add_value_rms_norm_summary=("linear2_outputs",))
    optimizer = config_for_function(sgd).set(
        learning_rate=1.0, update_schedule=config_for_function(constant)
    )
    cfg.learner.set(optimizer=optimizer, gradient_clipping=None)
    return cfg


def uneven_batch():
    """Rows of 8, 2, 5 and 0 targets."""
    rng = np.random.default_rng(0)
    counts = np.arange(8) < np.asarray([8, 2, 5, 0])[:, None]
    batch = {name: rng.integers(1, 32, (4, 8)) for name in ("inputs", "targets", "target_bytes")}
    batch |= {"segment_ids": counts, "positions": np.tile(np.arange(8), (4, 1))}
    return {name: jnp.asarray(rows, jnp.int32) for name, rows in batch.items()}


def one_step(cfg):
    trainer = cfg.instantiate(devices=jax.devices()[:1])
    state = trainer.init_state()
    return jax.jit(trainer.step)(state, uneven_batch())


def test_the_batch_in_parts_gives_what_the_batch_at_once_gives():
    at_once, metrics = one_step(tiny_config())
    in_parts, metrics_of_parts = one_step(tiny_config(accumulation_steps=4))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        in_parts.params,
        at_once.params,
    )
    for name in ("loss", "z_loss", "num_targets", "gradient_norm"):
        np.testing.assert_allclose(metrics_of_parts[name], metrics[name], rtol=1e-5)
    # A mean of parts: another number, of the same size.
    rms = "layer/*/feed_forward/linear2_outputs/rms"
    np.testing.assert_allclose(metrics_of_parts[rms], metrics[rms], rtol=0.5)


@pytest.mark.parametrize("num_parts", [0, 3])
def test_parts_that_do_not_divide_the_batch_are_refused(num_parts):
    with pytest.raises(UserError) as error:
        tiny_config(accumulation_steps=num_parts).instantiate(devices=jax.devices()[:1])
    assert str(error.value) == (
        f"accumulation_steps {num_parts} does not divide input.global_batch_size 4; change one."
    )


def step_jaxpr(cfg):
    trainer = cfg.instantiate(devices=jax.devices()[:1])
    return str(jax.make_jaxpr(trainer.step)(trainer.abstract_state, uneven_batch()))


def test_a_step_draws_where_a_rate_says_so_and_nowhere_else():
    cfg = tiny_config()
    assert "random" not in step_jaxpr(cfg)
    cfg.model.decoder.output_dropout.rate = 0.1
    assert step_jaxpr(cfg).count("random_bits") == 1


def test_steps_and_seeds_have_keys_of_their_own():
    data = lambda *args: tuple(jax.random.key_data(dropout_key(*args)).tolist())  # noqa: E731
    keys = {data(seed, jnp.int32(step)) for seed in (0, 1) for step in (0, 1, 2)}
    assert len(keys) == 6
    assert data(1, jnp.int32(2)) in keys


def test_metrics_of_layers_are_told_apart():
    metrics = {"loss": np.float32(2.5), "layer/*/rms": np.asarray([1.0, 2.0]), "n": np.int32(3)}
    scalars = scalar_metrics(metrics)
    assert scalars == {"loss": 2.5, "layer/0/rms": 1.0, "layer/1/rms": 2.0, "n": 3}
    assert {type(value) for value in scalars.values()} == {float, int}


def test_float16_learns_and_survives_the_overflows_of_a_scale_that_is_too_large():
    """From Megatron's initial 2**32 the scale falls until float16 holds the gradients."""
    cfg = tiny_config().set(train_dtype=jnp.float16)
    cfg.learner.optimizer.learning_rate = 0.1
    exact = cfg.clone(train_dtype=jnp.float32)
    cfg.learner.loss_scaler = config_for_function(dynamic_loss_scaler).set(window=20)
    losses, scales, skipped = train(cfg, num_steps=80)
    assert scales[0] == 2.0**32
    assert 5 < skipped < 30
    assert max(scales[40:]) <= 2.0**24
    assert np.isfinite(losses).all()
    # Afterwards it learns what float32 learns in as many steps that are taken.
    expected, _, _ = train(exact, num_steps=80 - skipped)
    assert losses[-1] < 0.7 * losses[0]
    assert losses[-1] == pytest.approx(expected[-1], rel=0.02)


def train(cfg, *, num_steps):
    """Return the losses, the scales and the number of skipped steps."""
    trainer = cfg.instantiate(devices=jax.devices()[:1])
    state, step, batch = trainer.init_state(), jax.jit(trainer.step), uneven_batch()
    losses, scales = [], []
    for _ in range(num_steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
        scales.append(float(metrics.get("loss_scale", 1.0)))
    return np.asarray(losses), scales, int(metrics.get("num_skipped_steps", 0))
