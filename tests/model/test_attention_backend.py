"""What `attention.backend` means, and that each backend computes what plain JAX does."""

import os
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from axl_exp.model import ALiBi
from axl_exp.model.attention_backend import (
    AttentionCase,
    BackendError,
    SplashSpec,
    choose_backend,
)
from axl_exp.model.attention_blocks import blocks_attention
from axl_exp.model.attention_splash import splash_attention
from axl_exp.model.attention_xla import attention_mask, dot_product_attention
from axl_exp.model.qkv import QKV

ON_TPU: dict[str, Any] = {"platform": "tpu", "dtype": jnp.bfloat16}
ON_GPU: dict[str, Any] = {"platform": "gpu", "dtype": jnp.bfloat16}
ON_CPU: dict[str, Any] = {"platform": "cpu", "dtype": jnp.float32}
SIZES: dict[str, Any] = {"sequence_length": 4096, "num_kv_heads": 8, "head_dim": 128}


@pytest.mark.parametrize(
    ("hardware", "kernel"),
    [
        (ON_TPU, "splash"),
        (ON_GPU, "cudnn"),
        ({"platform": "cuda"}, "cudnn"),
        ({"platform": "cpu"}, "blocks"),
    ],
)
def test_auto_and_flash_are_the_kernel_of_the_hardware(hardware, kernel: Any):
    case = AttentionCase(**{**ON_GPU, **hardware, **SIZES})
    for name in ("auto", "flash", kernel):
        assert choose_backend(name, case).name == kernel
    assert choose_backend("xla", case).name == "xla"


def test_auto_on_unknown_hardware_is_xla_and_says_why():
    case = AttentionCase(platform="abacus", dtype=jnp.float32, **SIZES)
    chosen = choose_backend("auto", case)
    assert chosen.name == "xla"
    assert chosen.why == "abacus has no flash attention kernel"
    with pytest.raises(BackendError, match="'flash', but abacus has no"):
        choose_backend("flash", case)


@pytest.mark.parametrize(
    ("hardware", "what", "words"),
    [
        (ON_TPU, {"has_dropout": True}, r"attention\.dropout\.rate"),
        (ON_GPU, {"has_logit_bias": True}, r"attention\.logit_bias"),
        (ON_TPU, {"num_head_shards": 16}, r"num_kv_heads 8 .* 16 devices that mesh_shape\.model"),
        (ON_TPU, {"sequence_length": 4000}, r"max_sequence_length .* divides by 128 .* 4000"),
        (ON_TPU, {"sequence_length": 4096, "num_sequence_shards": 64}, r"mesh_shape\.seq"),
        (ON_GPU, {"has_logit_cap": True}, r"attention\.logit_cap"),
        (ON_GPU, {"dtype": jnp.float32}, r"train_dtype is float32"),
        (ON_GPU, {"head_dim": 100}, r"decoder\.dim / num_heads is 100"),
        (ON_GPU, {"sequence_length": 4095}, r"even max_sequence_length"),
        (ON_GPU, {"num_sequence_shards": 2}, r"mesh_shape\.seq is 2"),
        (ON_CPU, {"num_sequence_shards": 2}, r"mesh_shape\.seq is 2"),
        (ON_CPU, {"has_dropout": True}, r"attention\.dropout\.rate"),
    ],
)
def test_what_a_kernel_cannot_compute_is_said_by_auto_and_refused_by_flash(hardware, what, words):
    case = AttentionCase(**{**hardware, **SIZES, **what})
    chosen = choose_backend("auto", case)
    assert chosen.name == "xla"
    assert re.search(words, chosen.why)
    with pytest.raises(BackendError, match=words):
        choose_backend("flash", case)


@pytest.mark.parametrize(
    ("name", "words"), [("splash", "runs on TPUs"), ("cudnn", "on GPUs alone")]
)
def test_a_kernel_of_other_hardware_is_refused_with_the_fix(name, words):
    case = AttentionCase(platform="cpu", dtype=jnp.bfloat16, **SIZES)
    with pytest.raises(BackendError, match=f"{words}.*set it to 'auto' or 'xla'"):
        choose_backend(name, case)


def test_the_obstacles_are_those_of_the_layer(model_config, packed_batch):
    cfg = model_config()
    attention = cfg.decoder.transformer.layer.self_attention.attention
    attention.set(backend="splash", splash=SplashSpec(interpret=True))
    model = cfg.instantiate(rngs=nnx.Rngs(0))
    with pytest.raises(BackendError, match="it is 16 over 1"):
        model(packed_batch)
    attention.logit_bias = ALiBi.default_config()
    with pytest.raises(BackendError, match="logit_bias"):
        cfg.instantiate(rngs=nnx.Rngs(0))(packed_batch)
    attention.set(logit_bias=None).dropout.rate = 0.1
    with pytest.raises(BackendError, match="dropout"):
        cfg.instantiate(rngs=nnx.Rngs(0))(packed_batch)


def _qkv(*, dtype=jnp.float32) -> tuple[QKV, jax.Array, jax.Array]:
    """Two rows of 256 with several documents, 4 query and 2 key/value heads; and weights."""
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(2, 256, 4, 64), (2, 256, 2, 64), (2, 256, 2, 64), (2, 256, 4, 64)]
    drawn = [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]
    lengths = [[100, 120, 36], [130, 1, 125]]
    segment_ids = jnp.asarray([np.repeat([1, 2, 0], row) for row in lengths], jnp.int32)
    return QKV(drawn[0] / 8, drawn[1], drawn[2]), drawn[3], segment_ids


_SMALL_BLOCKS = {"block_q": 128, "block_kv": 128, "block_q_backward": 128}
_TWO_KERNELS = _SMALL_BLOCKS | {"block_kv_backward": 128, "fused_backward": False}
_PARTS = _SMALL_BLOCKS | {"block_kv_backward": 128, "fused_backward": True}
_LARGER_PART = _SMALL_BLOCKS | {"block_kv_backward": 256, "block_kv_compute": 128}


@pytest.mark.parametrize(
    ("window", "cap", "blocks"),
    [
        (None, None, _TWO_KERNELS),
        (70, 3.0, _TWO_KERNELS),
        (None, 3.0, _PARTS),
        (70, 3.0, _PARTS),
        (140, None, _LARGER_PART),
        (None, None, {}),
    ],
)
def test_splash_equals_xla_forward_and_backward(window, cap, blocks):
    qkv, weights, segment_ids = _qkv()
    spec = SplashSpec(interpret=True, **blocks)

    def by_splash(qkv):
        out = splash_attention(qkv, segment_ids, spec=spec, sliding_window=window, logit_cap=cap)
        return jnp.sum(out * weights), out

    def by_xla(qkv):
        mask = attention_mask(segment_ids, sliding_window=window)
        out = dot_product_attention(qkv, mask, logit_cap=cap)
        return jnp.sum(out * weights), out

    ((_, out), gradients), ((_, expected_out), expected) = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(qkv) for f in (by_splash, by_xla)
    )
    np.testing.assert_allclose(out, expected_out, atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), gradients, expected)


@pytest.mark.parametrize("seq", [256, 250, 40], ids=["whole blocks", "a part of one", "one block"])
@pytest.mark.parametrize(
    ("window", "cap"), [(None, None), (70, 3.0), (1, None)], ids=["plain", "all of it", "itself"]
)
def test_blocks_equal_xla_forward_and_backward(seq, window, cap):
    qkv, weights, segment_ids = jax.tree.map(lambda x: x[:, :seq], _qkv())

    def by_blocks(qkv):
        out = blocks_attention(qkv, segment_ids, sliding_window=window, logit_cap=cap)
        return jnp.sum(out * weights), out

    def by_xla(qkv):
        mask = attention_mask(segment_ids, sliding_window=window)
        out = dot_product_attention(qkv, mask, logit_cap=cap)
        return jnp.sum(out * weights), out

    ((_, out), gradients), ((_, expected_out), expected) = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(qkv) for f in (by_blocks, by_xla)
    )
    np.testing.assert_allclose(out, expected_out, atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), gradients, expected)


def test_blocks_multiply_no_query_with_keys_that_come_after_its_block():
    qkv, _, segment_ids = _qkv()
    lowered = jax.jit(lambda qkv: blocks_attention(qkv, segment_ids)).trace(qkv).jaxpr
    products = [e for e in lowered.eqns if e.primitive.name == "dot_general"]
    num_keys = sorted(e.outvars[0].aval.shape[-1] for e in products[::2])  # pyright: ignore
    assert num_keys == [64, 128, 192, 256]


def test_blocks_of_large_logits_stay_finite_and_no_key_of_another_document_counts():
    qkv, _, segment_ids = _qkv()
    qkv = QKV(qkv.query * 1e4, qkv.key, qkv.value)
    out = blocks_attention(qkv, segment_ids)
    assert np.isfinite(out).all()
    # The first document of row 0 is its first 100 positions.
    others = qkv._replace(value=qkv.value.at[:, :100].set(1e9))
    np.testing.assert_array_equal(blocks_attention(others, segment_ids)[0, 100:], out[0, 100:])


def test_a_block_is_the_largest_that_divides_the_sequence():
    qkv, _, segment_ids = _qkv()
    # 256 does not divide by 384: blocks of 256.
    spec = SplashSpec(interpret=True, block_q=384, block_kv=384)
    text = str(jax.make_jaxpr(lambda qkv: splash_attention(qkv, segment_ids, spec=spec))(qkv))
    assert "256,64" in text.replace(" ", "")
    out = splash_attention(qkv, segment_ids, spec=spec)
    expected = dot_product_attention(qkv, attention_mask(segment_ids))
    np.testing.assert_allclose(out, expected, atol=2e-5)


# Compares splash attention, interpreted, on eight devices of a CPU with plain JAX on one.
ON_EIGHT = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from axl_exp.mesh import MESH_AXES
from axl_exp.model.attention_backend import SplashSpec
from axl_exp.model.attention_splash import splash_attention
from axl_exp.model.attention_xla import attention_mask, dot_product_attention
from axl_exp.model.qkv import QKV
from axl_exp.model.sharding import DEFAULT_LOGICAL_AXIS_RULES, axis_rules

keys = jax.random.split(jax.random.key(0), 4)
heads = (4, 2, 2, 4)
q, k, v, weights = (jax.random.normal(key, (2, 256, n, 16)) for key, n in zip(keys, heads))
segments = jnp.asarray([np.repeat([1, 2], row) for row in ([100, 156], [31, 225])])
spec = SplashSpec(interpret=True, block_q=128, block_kv=128)

def by_splash(qkv):
    with axis_rules(DEFAULT_LOGICAL_AXIS_RULES):
        return jnp.sum(splash_attention(QKV(*qkv), segments, spec=spec) * weights)

def by_xla(qkv):
    return jnp.sum(dot_product_attention(QKV(*qkv), attention_mask(segments)) * weights)

expected = jax.jit(jax.value_and_grad(by_xla))((q, k, v))
sizes = dict.fromkeys(MESH_AXES, 1) | {"data": 2, "seq": 2, "model": 2}
mesh = jax.make_mesh(tuple(sizes.values()), MESH_AXES, axis_types=(AxisType.Auto,) * 6)
split = NamedSharding(mesh, P(("data", "expert", "fsdp"), "seq", "model"))
with jax.set_mesh(mesh):
    step = jax.jit(jax.value_and_grad(by_splash), in_shardings=((split,) * 3,))
    found = step(jax.device_put((q, k, v), split))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5, rtol=1e-5), found, expected)
"""

# Compiles a model, forward and backward, for TPUs that are not there, and prints how many kernels
# are in it where the backward pass keeps what is named.
FOR_TPU = """
import sys
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from axl_exp.mesh import MESH_AXES
from axl_exp.model import CausalLM, RematSpec, abstract_model

devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices
mesh = Mesh(np.array(devices).reshape(1, 1, 1, 4, 1, 2), MESH_AXES, axis_types=(AxisType.Auto,) * 6)
cfg = CausalLM.default_config()
cfg.decoder.set(vocab_size=64, dim=256)
cfg.decoder.transformer.num_layers = 2
layer = cfg.decoder.transformer.layer
layer.feed_forward.hidden_dim = 64
attention = layer.self_attention.attention.set(num_heads=4, sliding_window=100, logit_cap=30.0)
attention.input_linear.input_linear.num_kv_heads = 2
over_batch = NamedSharding(mesh, P(("data", "expert", "fsdp")))
ids = jax.ShapeDtypeStruct((8, 128), jnp.int32, sharding=over_batch)
batch = dict.fromkeys(("inputs", "targets", "positions", "segment_ids"), ids)
whole = NamedSharding(mesh, P())
replicated = lambda p: jax.ShapeDtypeStruct(p.shape, jnp.bfloat16, sharding=whole)
for save in sys.argv[1:]:
    layer.remat_spec = RematSpec(save=save)
    graph, params = nnx.split(abstract_model(cfg), nnx.Param)
    loss = lambda params, batch: nnx.merge(graph, params).loss(batch).loss.astype(jnp.float32)
    with jax.set_mesh(mesh):
        lowered = jax.jit(jax.grad(loss)).lower(jax.tree.map(replicated, params), batch)
    print(lowered.compile().as_text().count('custom_call_target="tpu_custom_call"'))
"""


def _run(script: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_splash_on_eight_devices_equals_xla_on_one():
    done = _run(ON_EIGHT, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    assert done.returncode == 0, done.stderr


def test_auto_is_splash_for_a_tpu_and_saved_residuals_spare_its_second_forward_kernel():
    pytest.importorskip("libtpu")
    saves = ("[qkvo]_proj|context", "[qkvo]_proj|flash_residuals")
    # Others on this machine may hold libtpu's lock; no TPU is touched.
    done = _run(FOR_TPU, *saves, TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    assert done.returncode == 0, done.stderr
    # Forward (twice where it is not kept), backward to queries, backward to keys and values.
    assert done.stdout.split() == ["4", "3"]
