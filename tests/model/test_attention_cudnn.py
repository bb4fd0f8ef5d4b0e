"""cuDNN attention without cuDNN: what JAX would give it, and our mask and remat around it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax._src.cudnn import fused_attention_stablehlo as fused
from jax.interpreters import mlir

from axl_exp.mesh import MESH_AXES
from axl_exp.model import RematSpec, abstract_model
from axl_exp.model.attention_cudnn import cudnn_attention
from axl_exp.model.attention_xla import attention_mask, dot_product_attention
from axl_exp.model.qkv import QKV

# float16 is what cuDNN takes that has the most digits.
TOLERANCE = 4e-3


@pytest.fixture(autouse=True)
def _a_version_of_cudnn(monkeypatch):
    # Without a GPU nothing says which cuDNN there is.
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91002)


def _qkv() -> tuple[QKV, jax.Array, jax.Array]:
    """Two rows of 64 with several documents, 4 query and 2 key/value heads; and weights."""
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(2, 64, 4, 16), (2, 64, 2, 16), (2, 64, 2, 16), (2, 64, 4, 16)]
    drawn = [jax.random.normal(k, s, jnp.float16) for k, s in zip(keys, shapes, strict=True)]
    lengths = [[25, 30, 9], [33, 1, 30]]
    segment_ids = jnp.asarray([np.repeat([1, 2, 0], row) for row in lengths], jnp.int32)
    return QKV(drawn[0] / 4, drawn[1], drawn[2]), drawn[3], segment_ids


def _text_for_cuda(function, *args) -> str:
    return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def test_forward_and_backward_are_its_flash_attention_and_no_gradient_of_the_mask():
    qkv, _, segment_ids = _qkv()

    def total(qkv):
        return jnp.sum(cudnn_attention(qkv, segment_ids, sliding_window=20), dtype=jnp.float32)

    text = _text_for_cuda(jax.grad(total), qkv)
    assert re.search(r"mask_type\S*: \S*CAUSAL", text)
    assert re.search(r"sliding_window_length\S*: 20", text)
    assert re.search(r"fmha_scale\S*: 1\.0", text)
    assert re.search(r"@__cudnn\$fmhaScaleBiasSoftmax\(", text)
    (backward,) = re.findall(r"@__cudnn\$fmhaScaleBiasSoftmaxBackward\(.*", text)
    takes, puts_out = backward.rsplit("->", 1)
    assert "tensor<2x1x64x64xf16>" in takes
    assert "x64x64x" not in puts_out


def test_saved_residuals_spare_its_second_forward_kernel(model_config, packed_batch):
    cfg = model_config(dim=48)  # A head dim of 8.
    layer = cfg.decoder.transformer.layer
    counts = []
    for save in ("[qkvo]_proj|context", "[qkvo]_proj|flash_residuals"):
        layer.remat_spec = RematSpec(save=save)
        graph, params = nnx.split(abstract_model(cfg), nnx.Param)
        params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.bfloat16), params)

        def loss(params, graph=graph):
            return nnx.merge(graph, params).loss(packed_batch).loss.astype(jnp.float32)

        with jax.sharding.use_abstract_mesh(_one_gpu()):
            text = _text_for_cuda(jax.grad(loss), params)
        counts.append(len(re.findall(r"@__cudnn\$fmhaScaleBiasSoftmax\(", text)))
    assert counts == [2, 1]


def _one_gpu() -> jax.sharding.AbstractMesh:
    device = jax.sharding.AbstractDevice("NVIDIA H100", num_cores=None, platform="cuda")
    types = (jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    return jax.sharding.AbstractMesh(
        (1,) * len(MESH_AXES), MESH_AXES, axis_types=types, abstract_device=device
    )


@pytest.fixture
def _on_cpu(monkeypatch):
    """Plain JAX in the place of both kernels, by the equations of flash attention.

    Queries see what `bias`, the causal order and the window leave. The backward pass is from what
    the forward pass put out and nothing else (Dao et al. 2022, arXiv:2205.14135, algorithm 4).
    """
    kernels = {"fwd": fused._dot_product_attention_fwd_p, "bwd": fused._dot_product_attention_bwd_p}
    for name, function in (("fwd", _forward), ("bwd", _backward)):
        lowering = mlir.lower_fun(function, multiple_results=True)
        mlir.register_lowering(kernels[name], lowering, platform="cpu")
    yield
    for kernel in kernels.values():
        mlir._platform_specific_lowerings["cpu"].pop(kernel)


def _logits(query, key, bias, params):
    assert params["mask_type"] == fused.MaskType.CAUSAL
    logits = params["scale"] * jnp.einsum("bsnh,btnh->bnst", query, key) + bias
    before = jnp.arange(query.shape[1])[:, None] - jnp.arange(key.shape[1])
    window = params["sliding_window_length"] or len(before)
    return jnp.where((before >= 0) & (before < window), logits, -jnp.inf)


def _float32(*arrays):
    return [x.astype(jnp.float32) for x in arrays]


def _forward(query, key, value, bias, *_, **params):
    key, value = (jnp.repeat(x, query.shape[2] // x.shape[2], axis=2) for x in (key, value))
    logits = _logits(*_float32(query, key, bias), params)
    out = jnp.einsum("bnst,btnh->bsnh", jax.nn.softmax(logits), *_float32(value))
    residuals = (jax.nn.logsumexp(logits, axis=-1),) if params["is_training"] else ()
    return out.astype(query.dtype), *residuals


def _backward(query, key, value, bias, *others, **params):
    assert params["variadic_args"] == (True, False)
    log_sum, out, d_out = _float32(*others[-3:])
    group = query.shape[2] // key.shape[2]
    dtype, kv_shape = query.dtype, (*key.shape[:3], group, key.shape[3])
    query, key, value, bias = _float32(query, key, value, bias)
    key, value = (jnp.repeat(x, group, axis=2) for x in (key, value))
    p = jnp.exp(_logits(query, key, bias, params) - log_sum[..., None])
    d_p = jnp.einsum("bsnh,btnh->bnst", d_out, value)
    d_logits = p * (d_p - jnp.sum(d_out * out, axis=-1).swapaxes(1, 2)[..., None])
    d_query = jnp.einsum("bnst,btnh->bsnh", d_logits, key)
    d_key = jnp.einsum("bnst,bsnh->btnh", d_logits, query).reshape(kv_shape).sum(3)
    d_value = jnp.einsum("bnst,bsnh->btnh", p, d_out).reshape(kv_shape).sum(3)
    return [x.astype(dtype) for x in (d_query, d_key, d_value)]


@pytest.mark.usefixtures("_on_cpu")
@pytest.mark.parametrize("window", [None, 20])
def test_mask_window_and_gradients_are_those_of_xla(window):
    qkv, weights, segment_ids = _qkv()

    def by_cudnn(qkv):
        out = cudnn_attention(qkv, segment_ids, sliding_window=window)
        return jnp.sum((out * weights).astype(jnp.float32)), out

    def by_xla(qkv):
        mask = attention_mask(segment_ids, sliding_window=window)
        out = dot_product_attention(qkv, mask)
        return jnp.sum((out * weights).astype(jnp.float32)), out

    ((_, out), gradients), ((_, expected_out), expected) = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(qkv) for f in (by_cudnn, by_xla)
    )
    np.testing.assert_allclose(out, expected_out, atol=TOLERANCE, rtol=TOLERANCE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=TOLERANCE),
        gradients,
        expected,
    )
