import math

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name as name

from axl_exp.golden.traced import NotTraceableError, TracedProgram
from axl_exp.optim import cosine_with_linear_warmup, warmup_stable_decay


def traced(fn, *shapes) -> TracedProgram:
    closed = jax.make_jaxpr(fn)(*shapes)
    return TracedProgram(closed.jaxpr, closed.consts)


STEP = jax.ShapeDtypeStruct((), jnp.int32)
VECTOR = jax.ShapeDtypeStruct((3,), jnp.float32)


@pytest.mark.parametrize(
    "schedule",
    [
        cosine_with_linear_warmup(3e-4, max_step=1000, warmup_steps=100, alpha=0.1),
        warmup_stable_decay(1e-3, max_step=1000, decay_steps=200, warmup_steps=50),
        optax.warmup_exponential_decay_schedule(0.0, 1.0, 10, 100, 0.5, staircase=True),
        optax.piecewise_constant_schedule(1.0, {100: 0.5, 700: 0.1}),
        optax.join_schedules([lambda s: 1.0 * s, optax.polynomial_schedule(1, 0, 2, 99)], [300]),
        lambda step: jax.lax.rsqrt(jnp.maximum(step, 10).astype(jnp.float32)),
        lambda step: 0.5 ** (step // 300) * (1 + (step % 7) / 7),
        lambda step: (50 - step) // 7 + jax.nn.sigmoid(step / 100) + jnp.log1p(jnp.exp2(-step / 9)),
    ],
)
@pytest.mark.parametrize("step", [1, 50, 100, 101, 350, 999, 1000, 2000])
def test_a_schedule_has_the_value_that_jax_computes(schedule, step):
    value = traced(schedule, STEP).scalar(0, inputs=step)
    assert value == pytest.approx(float(schedule(jnp.asarray(step))), rel=2e-5)


def test_what_depends_on_more_than_the_step_is_refused():
    program = traced(lambda step, x: (step * jnp.sum(x), step * 2), STEP, VECTOR)
    with pytest.raises(NotTraceableError, match="reduce_sum|more than the step"):
        program.scalar(0, inputs=3)
    assert program.scalar(1, inputs=3) == 6


def test_an_operation_that_has_no_row_is_named():
    program = traced(lambda step: jax.lax.erf(step.astype(jnp.float32)), STEP)
    with pytest.raises(NotTraceableError, match="the operation erf"):
        program.scalar(0, inputs=1)


def test_a_start_is_the_name_of_the_draw_or_the_constant_whatever_is_done_to_its_layout():
    def init(key):
        drawn = name(jax.random.normal(key, (2, 3)) * 0.5, "normal(0.5)")
        stacked = jax.vmap(lambda k: name(jax.random.normal(k, (3,)), "normal(1)"))
        return (
            jax.jit(lambda x: x.T.reshape(6))(drawn),
            stacked(jax.random.split(key, 4)),
            jnp.ones((4, 2)),
            jnp.zeros(3)[None].astype(jnp.bfloat16),
            jax.random.normal(key, (2,)),
            drawn * 2,
        )

    program = traced(init, jax.eval_shape(lambda: jax.random.key(0)))
    starts = [program.start(i) for i in range(6)]
    assert starts == ["normal(0.5)", "normal(1)", "1", "0", "other", "other"]


def test_numbers_that_no_real_has_are_nan():
    program = traced(lambda step: jnp.sqrt(step - 5.0) + 1 / (step - step), STEP)
    assert math.isnan(program.scalar(0, inputs=1))
