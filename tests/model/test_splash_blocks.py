"""The blocks that splash attention is divided into where no config says."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.model.attention_backend import SplashSpec
from axl_exp.model.attention_splash import splash_attention
from axl_exp.model.attention_xla import attention_mask, dot_product_attention
from axl_exp.model.qkv import QKV
from axl_exp.model.splash_blocks import choose_blocks


def _chosen(num_keys, *, shards=1, head_dim=128, dtype=jnp.bfloat16, window=None, **spec) -> Any:
    return choose_blocks(
        SplashSpec(**spec),
        num_queries=num_keys // shards,
        num_keys=num_keys,
        head_dim=head_dim,
        dtype=dtype,
        sliding_window=window,
    )


@pytest.mark.parametrize(
    ("case", "block_q", "block_kv", "block_kv_dkv", "fused"),
    [
        ({"num_keys": 4096}, 1024, 1024, 1024, True),
        ({"num_keys": 4096, "head_dim": 64}, 1024, 1024, 1024, True),
        ({"num_keys": 8192}, 1024, 1024, 2048, True),
        ({"num_keys": 8192, "shards": 16}, 512, 1024, 2048, True),
        ({"num_keys": 32768}, 1024, 1024, 1024, False),
        ({"num_keys": 256}, 256, 256, 256, True),
        ({"num_keys": 640}, 640, 640, 640, True),
        # 5 blocks, and no pairs of them; 33 * 128 divides into blocks of 384 at most.
        ({"num_keys": 5120}, 1024, 1024, 1024, False),
        ({"num_keys": 4224}, 384, 384, 384, False),
        ({"num_keys": 8192, "window": 4096}, 1024, 1024, 2048, True),
        ({"num_keys": 8192, "window": 512}, 512, 512, 512, False),
        ({"num_keys": 4096, "head_dim": 256}, 512, 512, 1024, True),
        ({"num_keys": 2048, "dtype": jnp.float32}, 512, 512, 512, True),
    ],
)
def test_blocks_are_large_as_far_as_lengths_windows_and_memory_allow(
    case, block_q, block_kv, block_kv_dkv, fused
):
    blocks = _chosen(**case)
    assert (blocks.block_q, blocks.block_kv) == (block_q, block_kv)
    assert (blocks.block_q_dkv, blocks.block_kv_dkv) == (block_q, block_kv_dkv)
    assert blocks.use_fused_bwd_kernel is fused
    assert (blocks.block_q_dq, blocks.block_kv_dq) == (
        (None, None) if fused else (block_q, block_kv)
    )
    for block, at_a_time in (
        (blocks.block_kv, blocks.block_kv_compute),
        (blocks.block_kv_dkv, blocks.block_kv_dkv_compute),
    ):
        assert block % at_a_time == 0 and at_a_time >= min(512, block)


def test_sums_have_at_most_four_parts_and_blocks_divide():
    for num_keys in range(128, 40_000, 128):
        blocks = _chosen(num_keys)
        assert num_keys % blocks.block_q == num_keys % blocks.block_kv_dkv == 0
        assert not blocks.use_fused_bwd_kernel or num_keys // blocks.block_kv_dkv <= 4


def test_what_a_config_says_stands():
    said = {"block_q": 256, "block_kv": 512, "block_q_backward": 128, "block_kv_backward": 512}
    blocks = _chosen(4096, **said, block_kv_compute=256, fused_backward=True)
    assert (blocks.block_q, blocks.block_kv, blocks.block_kv_compute) == (256, 512, 256)
    assert (blocks.block_q_dkv, blocks.block_kv_dkv) == (128, 512)
    assert (blocks.block_kv_dkv_compute, blocks.use_fused_bwd_kernel) == (256, True)
    # Eight parts are more than are chosen.
    assert not _chosen(4096, **said).use_fused_bwd_kernel


def test_two_parts_of_large_blocks_equal_plain_attention():
    length, heads, kv_heads, dim = 2048, 2, 1, 64
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(1, length, n, dim) for n in (heads, kv_heads, kv_heads, heads)]
    query, key, value, weights = (
        jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)
    )
    qkv = QKV(query / 8, key, value)
    segment_ids = jnp.asarray(np.repeat([[1, 2, 3]], [900, 1100, 48], axis=1), jnp.int32)
    # As chosen in bfloat16: two parts, 512 keys at a time.
    spec = SplashSpec(interpret=True, block_q=1024, block_kv=1024, block_kv_backward=1024)

    def by_splash(qkv):
        out = splash_attention(qkv, segment_ids, spec=spec)
        return jnp.sum(out * weights), out

    def by_xla(qkv):
        mask = attention_mask(segment_ids)
        out = dot_product_attention(qkv, mask)
        return jnp.sum(out * weights), out

    ((_, out), gradients), ((_, expected_out), expected) = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(qkv) for f in (by_splash, by_xla)
    )
    np.testing.assert_allclose(out, expected_out, atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), gradients, expected)
