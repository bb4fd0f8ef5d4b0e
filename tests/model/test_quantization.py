"""Products in int8 and fp8: what they compute, that they are truly small, and what they cost."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from flax import nnx

from axl_exp.errors import UserError
from axl_exp.model import RematSpec
from axl_exp.model.quantization import QuantizedDotGeneral
from axl_exp.train.accumulation import accumulate_gradients
from axl_exp.train.state import PureModel

INT8 = {"forward_dtype": jnp.int8, "backward_dtype": jnp.int8}
FP8 = {"forward_dtype": jnp.float8_e4m3fn, "backward_dtype": jnp.float8_e5m2}


def _rounded(operand: np.ndarray, dtype: str, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The small numbers that stand for an operand, and the scales that are shared along `axis`."""
    operand = operand.astype(np.float32)
    largest = np.max(np.abs(operand), axis=axis, keepdims=True)
    if dtype == "int8":
        scale = largest / np.float32(127.5)
        small = np.clip(np.round(operand / scale), -128, 127)
    else:
        kind = getattr(ml_dtypes, dtype)
        scale = largest / np.float32(ml_dtypes.finfo(kind).max)
        small = (operand / scale).astype(kind)
    return small.astype(np.float64), scale.astype(np.float64)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("forward", "backward"), [("int8", "int8"), ("float8_e4m3fn", "float8_e5m2"), ("int8", None)]
)
def test_a_product_and_its_gradients_are_those_of_rounded_operands(forward, backward, per_channel):
    rng = np.random.default_rng(0)
    # The largest of each is positive: at 127.5 steps it is cut to 127, while at -127.5 the last bit
    # decides between -127 and -128.
    x, weight, gradient = (
        np.maximum(rng.normal(size=size), -0.3).astype(np.float32).astype(np.float64)
        for size in ((6, 32), (32, 10), (6, 10))
    )
    dot = QuantizedDotGeneral(forward, backward, per_channel)
    product = (((1,), (0,)), ((), ()))
    out, pull = jax.vjp(
        lambda x, w: dot(x, w, product),
        jnp.float32(x),
        jnp.float32(weight),  # pyright: ignore
    )
    rows, columns = (1, 0) if per_channel else (None, None)
    (small_x, scale_x), (small_w, scale_w) = (
        _rounded(x, forward, rows),
        _rounded(weight, forward, columns),
    )
    np.testing.assert_allclose(out, (small_x @ small_w) * scale_x * scale_w, atol=2e-5)
    if backward is None:
        expected = gradient @ weight.T, x.T @ gradient
    else:
        # The scale of the operand that is kept goes into the gradient before it is rounded.
        for_x, scale_for_x = _rounded(gradient * scale_w, backward, rows)
        for_w, scale_for_w = _rounded(gradient * scale_x, backward, columns)
        expected = (for_x @ small_w.T) * scale_for_x, (small_x.T @ for_w) * scale_for_w
    for found, right in zip(pull(jnp.float32(gradient)), expected, strict=True):  # pyright: ignore
        np.testing.assert_allclose(found, right, atol=2e-5)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(1, 64, (8, 16)) for name in ("inputs", "targets")}
    ids |= {"positions": np.tile(np.arange(16), (8, 1)), "segment_ids": np.ones((8, 16))}
    return {name: jnp.asarray(value, jnp.int32) for name, value in ids.items()}


@pytest.fixture(scope="module")
def make_model(model_config):
    """A function from fields of the quantization to a model in bfloat16 and its parameters."""

    def new(quantization):
        cfg = model_config(dim=64, num_heads=4, hidden_dim=128)
        cfg.quantization.set(**quantization)
        return cfg.instantiate(rngs=nnx.Rngs(0))

    # The same of all. In one program: JAX would else compile every draw by itself.
    params = jax.jit(lambda: nnx.state(new({}), nnx.Param))()

    def make(quantization):
        graph, _ = nnx.split(nnx.eval_shape(lambda: new(quantization)), nnx.Param)

        def bind(params):
            return nnx.merge(graph, jax.tree.map(lambda p: p.astype(jnp.bfloat16), params))

        return bind, params

    return make


@pytest.mark.parametrize(
    ("quantization", "operand_error"), [(INT8, 0.0078), (FP8, 0.026)], ids=["int8", "fp8"]
)
def test_logits_are_off_by_what_rounding_explains(make_model, batch, quantization, operand_error):
    """The bound: what rounding does to an operand, as the root mean square of its own.

    int8 has 255 steps over twice the largest of 64 normal numbers, which is at most about 3.5
    deviations: 3.5 / 127.5 / sqrt(12) = 0.0079. fp8 has 3 bits of mantissa: an error that is
    uniform within 2^-4 of the power of two below, so of 2^-4 / sqrt(3) = 0.036 there, and 0.026 in
    the mean over a binade. Two operands make sqrt(2) of it, 3 layers of 4 products in a row
    sqrt(12).
    """
    expected, found = (
        jax.jit(lambda p, bind=bind: bind(p)(batch).astype(jnp.float32))(params)
        for bind, params in (make_model({}), make_model(quantization))
    )
    error = float(jnp.sqrt(jnp.mean((found - expected) ** 2)) / jnp.std(expected))
    bound = operand_error * 2**0.5 * 12**0.5
    assert bound / 2 < error < bound * 1.25


def test_twenty_steps_go_down_beside_those_of_bfloat16(make_model, batch):
    def losses(quantization):
        bind, params = make_model(quantization)
        optimizer = optax.adam(3e-3)

        @jax.jit
        def step(params, state):
            loss, gradients = jax.value_and_grad(lambda p: bind(p).loss(batch).loss)(params)
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, updates), state, loss

        found, state = [], optimizer.init(params)
        for _ in range(20):
            params, state, loss = step(params, state)
            found.append(float(loss))
        return np.asarray(found)

    reference = losses({})
    assert reference[-1] < reference[0] / 4
    # Nats; the loss falls by more than three.
    np.testing.assert_allclose(losses(INT8), reference, atol=0.02)
    np.testing.assert_allclose(losses(FP8), reference, atol=0.06)


def _dots(program: str, dtype: str) -> int:
    """The products in StableHLO text whose second operand is of `dtype`."""
    return sum(f"x{dtype}>) ->" in line for line in program.splitlines() if "dot_general" in line)


@pytest.mark.parametrize(
    ("quantization", "dtype"), [(INT8, "i8"), (FP8, "f8E4M3FN")], ids=["int8", "fp8"]
)
def test_every_product_of_the_layers_is_small_forward_and_backward(
    make_model, batch, quantization, dtype
):
    programs = {}
    for name, fields in {"plain": {}, "quantized": quantization}.items():
        bind, params = make_model(fields)
        gradient = jax.grad(lambda p, bind=bind: bind(p).loss(batch).loss)
        programs[name] = jax.jit(gradient).lower(params).as_text()
    # qkv, o, linear1_0, linear1_1, linear2: once forward, and twice backward.
    assert _dots(programs["quantized"], dtype) == 15
    assert not any(_dots(programs["plain"], d) for d in ("i8", "f8E4M3FN", "f8E5M2"))
    # The head and the two products of attention stay: three times each.
    num_products = {name: text.count("stablehlo.dot_general") for name, text in programs.items()}
    assert num_products == {"plain": 24, "quantized": 24}


@pytest.fixture(scope="module")
def gradient_of(model_config, batch):
    """A function from a quantization to the gradients of its loss in float32, by PureModel."""

    def compute(quantization, *, num_parts=1, **layers):
        cfg = model_config(dim=32, num_heads=4, hidden_dim=64, num_layers=2)
        cfg.quantization.set(**quantization)
        cfg.decoder.transformer.set(unroll=layers.get("unroll", 1))
        cfg.decoder.transformer.layer.set(remat_spec=layers.get("remat_spec"))
        model = PureModel(cfg)

        def loss_of(params, batch, key):
            output = model.bind(params).loss(batch, key=key)
            return output.loss, (output.aux, {})

        gradient = jax.value_and_grad(loss_of, has_aux=True)
        gradient = accumulate_gradients(gradient, num_parts=num_parts, model=model)
        (loss, _), gradients = jax.jit(gradient)(
            jax.jit(model.init)(jax.random.key(0)), batch, None
        )
        return float(loss), gradients

    return compute


@pytest.fixture(scope="module")
def int8_error(gradient_of):
    """Loss and gradients of int8, and how far they are from those of float32."""
    loss, gradients = gradient_of(INT8)
    exact_loss, exact = gradient_of({})
    return loss, gradients, abs(loss - exact_loss), _distance(gradients, exact)


@pytest.mark.parametrize(
    "other",
    [{"unroll": True}, {"remat_spec": RematSpec(save="[qkv]_proj")}, {"num_parts": 4}],
    ids=["unrolled", "rematerialised", "in parts"],
)
def test_int8_is_the_same_however_layers_and_batch_are_run(gradient_of, int8_error, other):
    # The last bit of a float32 decides to which side a number between two steps falls, and one that
    # falls takes others along: what a program's order changes stays below what int8 itself does.
    loss, gradients, loss_error, gradient_error = int8_error
    other_loss, other_gradients = gradient_of(INT8, **other)
    assert abs(other_loss - loss) < max(loss_error, 1e-3)
    assert _distance(other_gradients, gradients) < gradient_error
    assert 0.005 < gradient_error < 0.1


def _distance(a, b) -> float:
    """How far trees are apart, as a share of the norm of the second."""
    apart = jax.tree.map(jnp.subtract, a, b)
    return float(optax.tree.norm(apart) / optax.tree.norm(b))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"forward_dtype": jnp.bfloat16}, "forward_dtype: bfloat16 is none of int8, float8"),
        ({"backward_dtype": jnp.int8}, "backward_dtype is int8 and forward_dtype None"),
        ({**INT8, "products": "decoder/moe/.*"}, "matches none of the products decoder/emb/"),
    ],
)
def test_a_quantization_that_cannot_be_is_refused_by_its_field(model_config, fields, words):
    cfg = model_config()
    cfg.quantization.set(**fields)
    with pytest.raises(UserError, match=words):
        cfg.instantiate(rngs=nnx.Rngs(0))


# Prints, for each quantization and mesh of eight devices: the losses on one device and on eight,
# how far the gradients on eight are from those on one, and how far both are from those of float32.
ON_EIGHT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from axl_exp.mesh import MESH_AXES
from axl_exp.model import CausalLM, param_partition_specs, partition_spec

rng = np.random.default_rng(0)
batch = {name: rng.integers(1, 64, (8, 16)) for name in ("inputs", "targets")}
batch |= {"positions": np.tile(np.arange(16), (8, 1)), "segment_ids": np.ones((8, 16))}
batch = {name: jnp.asarray(value, jnp.int32) for name, value in batch.items()}

def step_and_params(quantization):
    cfg = CausalLM.default_config()
    cfg.quantization.set(**quantization)
    cfg.decoder.set(vocab_size=64, dim=32)
    cfg.decoder.transformer.num_layers = 2
    layer = cfg.decoder.transformer.layer
    layer.self_attention.attention.num_heads = 4
    layer.self_attention.attention.input_linear.input_linear.num_kv_heads = 2
    layer.feed_forward.hidden_dim = 64
    make = lambda: cfg.instantiate(rngs=nnx.Rngs(0))
    graph, _ = nnx.split(nnx.eval_shape(make), nnx.Param)
    step = jax.value_and_grad(lambda params, batch: nnx.merge(graph, params).loss(batch).loss)
    return jax.jit(step), make, dict(cfg.logical_axis_rules)

def distance(a, b):
    apart = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), a, b)
    return float(optax.tree.norm(apart) / optax.tree.norm(b))

exact, make, rules = step_and_params({})
params = jax.jit(lambda: nnx.state(make(), nnx.Param))()
_, exact_gradients = exact(params, batch)
is_spec = lambda leaf: isinstance(leaf, PartitionSpec)
for dtypes, fields, sizes, small in json.loads(sys.argv[1]):
    dtypes = dict(zip(("forward_dtype", "backward_dtype"), map(jnp.dtype, dtypes)))
    step, _, _ = step_and_params(dtypes | fields)
    loss_1, gradients_1 = step(params, batch)
    sizes = dict.fromkeys(MESH_AXES, 1) | sizes
    mesh = jax.make_mesh(tuple(sizes.values()), MESH_AXES, axis_types=(AxisType.Auto,) * 6)
    specs = param_partition_specs(params, rules, mesh_shape=mesh.shape)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=is_spec)
    over_batch = NamedSharding(mesh, partition_spec(("batch", "sequence"), rules))
    with jax.set_mesh(mesh):
        laid_out = jax.device_put(params, shardings), jax.device_put(batch, over_batch)
        lowered = step.lower(*laid_out)
        assert small in lowered.as_text()
        loss_8, gradients_8 = lowered.compile()(*laid_out)
    found = [loss_1, loss_8, distance(gradients_8, gradients_1)]
    found += [distance(gradients, exact_gradients) for gradients in (gradients_1, gradients_8)]
    print(json.dumps([float(each) for each in found]))
"""
_INT8, _FP8 = ("int8", "int8"), ("float8_e4m3fn", "float8_e5m2")
_WITH_HEAD = {"products": ".*"}
ON_MESHES = [
    (_FP8, {}, {"fsdp": 2, "model": 4}, "xf8E"),
    (_INT8, _WITH_HEAD, {"fsdp": 2, "seq": 2, "model": 2}, "xi8>"),
    (_FP8, _WITH_HEAD, {"data": 2, "fsdp": 2, "model": 2}, "xf8E"),
]


def test_quantized_products_on_eight_devices_are_those_on_one():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT, json.dumps(ON_MESHES)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for (_, fields, *_), line in zip(ON_MESHES, lines, strict=True):
        loss_1, loss_8, apart, error_1, error_8 = line
        assert abs(loss_8 - loss_1) < 3e-3 * loss_1, line
        if fields:
            # As far as another order of the same program is, see above, or as other scales of a
            # head's parts are: what int8 and fp8 do is not more on eight devices than on one.
            assert 0.02 < error_8 < 1.1 * error_1, line
            assert apart < 1.5 * error_1, line
        else:  # A scale that is a bit apart moves no fp8 number between two steps.
            assert apart < 1e-5, line
