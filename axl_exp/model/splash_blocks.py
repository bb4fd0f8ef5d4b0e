"""The blocks of splash attention: those that libtpu's own schedules of its kernels say are fastest.

`python -m tools.bench.splash` prints them; docs/performance.md has what they were. One choice is
right for v4, v5e, v5p and v6e, with and without a logit cap.
"""

from typing import Any

import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels

from axl_exp.model.attention_backend import LANES, SplashSpec

_LARGE, _SMALL = 1024, 512
# Of one position of one head, above which large blocks do not fit into 16 MiB of vector memory.
_MOST_HEAD_BYTES = 256
# Parts of the gradient of queries that the fused backward kernel leaves to be summed, one per block
# of keys and each as large as the whole: of four the widest model's are no more than what its
# feed-forward layer makes of the same tokens.
_MOST_PARTS = 4


def choose_blocks(
    spec: SplashSpec,
    *,
    num_queries: int,
    num_keys: int,
    head_dim: int,
    dtype: Any,
    sliding_window: int | None,
) -> kernels.BlockSizes:
    """Return what `spec` says, each size lowered to what divides, and choose what it leaves open.

    Args:
        spec: What is said.
        num_queries: Queries of a row on one device.
        num_keys: Keys of a row.
        head_dim: Numbers per head.
        dtype: Of queries, keys and values.
        sliding_window: How many keys a query sees at most.
    """
    head_bytes = max(head_dim, LANES) * jnp.dtype(dtype).itemsize
    # Of a large block a short window leaves most unseen, and most parts of sums zero.
    has_short_window = sliding_window is not None and sliding_window <= _LARGE
    wanted = _SMALL if has_short_window or head_bytes > _MOST_HEAD_BYTES else _LARGE

    block_kv = _block(spec.block_kv or wanted, num_keys)
    block_q_dkv = _block(spec.block_q_backward or wanted, num_queries)
    block_kv_dkv = _block(spec.block_kv_backward or wanted, num_keys)
    is_long = num_keys > _MOST_PARTS * wanted and num_keys % (2 * wanted) == 0
    of_part = 2 * wanted if is_long and spec.block_kv_backward is None else block_kv_dkv
    is_fused = spec.fused_backward
    if is_fused is None:
        is_fused = not has_short_window and num_keys <= _MOST_PARTS * of_part
    if is_fused:
        block_kv_dkv = of_part
    return kernels.BlockSizes(
        block_q=_block(spec.block_q or wanted, num_queries),
        block_kv=block_kv,
        block_kv_compute=_at_a_time(spec, block_kv),
        block_q_dkv=block_q_dkv,
        block_kv_dkv=block_kv_dkv,
        block_kv_dkv_compute=_at_a_time(spec, block_kv_dkv),
        block_q_dq=None if is_fused else block_q_dkv,
        block_kv_dq=None if is_fused else block_kv_dkv,
        use_fused_bwd_kernel=is_fused,
    )


def _block(wanted: int, length: int) -> int:
    """Return the largest multiple of LANES up to `wanted` that divides `length`, itself one."""
    most = max(wanted // LANES, 1)
    return LANES * max(n for n in range(1, most + 1) if length // LANES % n == 0)


def _at_a_time(spec: SplashSpec, block_kv: int) -> int:
    """Return how many keys of a block are multiplied at a time: _SMALL, or more if that divides."""
    if spec.block_kv_compute is not None:
        return _block(spec.block_kv_compute, block_kv)
    sizes = range(min(_SMALL, block_kv), block_kv + 1, LANES)
    return next(size for size in sizes if block_kv % size == 0)
