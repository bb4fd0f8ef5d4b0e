"""Splash attention, JAX's flash attention kernel for TPUs.

B batch, S sequence of queries, N query heads, K key/value heads, H head dim.
"""

from contextlib import nullcontext
from typing import Any

import jax
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import NamedSharding

from axl_exp.model.attention_backend import SplashSpec
from axl_exp.model.qkv import QKV
from axl_exp.model.remat import FLASH_RESIDUALS
from axl_exp.model.sharding import mesh_is_split, num_shards_in_use, spec_in_use
from axl_exp.model.splash_blocks import choose_blocks


def splash_attention(
    qkv: QKV,
    segment_ids_BS: jax.Array,
    *,
    spec: SplashSpec,
    sliding_window: int | None = None,
    logit_cap: float | None = None,
) -> jax.Array:
    """Return causal attention within segments, [B, S, N, H], of scaled queries.

    Neither logits nor probabilities are stored, and blocks that no query sees are skipped. On a
    mesh every device takes its rows, its heads and its part of the queries of a row; keys and
    values it takes whole.
    """
    _, sequence_length, _, head_dim = qkv.query.shape
    block_sizes = choose_blocks(
        spec,
        num_queries=sequence_length // num_shards_in_use("sequence"),
        num_keys=sequence_length,
        head_dim=head_dim,
        dtype=qkv.query.dtype,
        sliding_window=sliding_window,
    )
    kernel = _kernel(
        sequence_length=sequence_length,
        block_sizes=block_sizes,
        sliding_window=sliding_window,
        logit_cap=logit_cap,
        interpret=spec.interpret,
    )

    def attend(kernel, query, key, value, query_segment_ids, key_segment_ids) -> Any:
        segment_ids = kernels.SegmentIds(q=query_segment_ids, kv=key_segment_ids)
        # Dry runs read it.
        scope = f"sliding_window_{sliding_window}"
        with jax.named_scope(scope) if sliding_window else nullcontext():
            return jax.vmap(kernel)(query, key, value, segment_ids)

    if mesh_is_split():
        mesh = jax.sharding.get_abstract_mesh()
        queries = spec_in_use("batch", "heads", "sequence", None)
        keys = spec_in_use("batch", "heads", None, None)
        of_mask = NamedSharding(mesh, spec_in_use("heads", "sequence"))
        attend = jax.shard_map(
            attend,
            in_specs=(
                kernel.manual_sharding_spec(of_mask),
                queries,
                keys,
                keys,
                spec_in_use("batch", "sequence"),
                spec_in_use("batch", None),
            ),
            out_specs=queries,
            check_vma=False,
        )
    query, key, value = (x.swapaxes(1, 2) for x in qkv)
    return attend(kernel, query, key, value, segment_ids_BS, segment_ids_BS).swapaxes(1, 2)


def _kernel(
    *,
    sequence_length: int,
    block_sizes: kernels.BlockSizes,
    sliding_window: int | None,
    logit_cap: float | None,
    interpret: bool,
) -> kernels.SplashAttentionKernel:
    num_head_shards = num_shards_in_use("heads")
    num_sequence_shards = num_shards_in_use("sequence")
    size = (sequence_length, sequence_length)
    if sliding_window is None:
        mask = masks.CausalMask(size, shard_count=num_sequence_shards)
    else:
        seen = (sliding_window - 1, 0)  # Keys before and after the query itself.
        mask = masks.LocalMask(size, seen, offset=0, shard_count=num_sequence_shards)
    return kernels.make_splash_mha(
        # All heads of a device share one mask; per head, the same is found at many times the work.
        masks.MultiHeadMask([mask] * num_head_shards),
        block_sizes=block_sizes,
        attn_logits_soft_cap=logit_cap,
        head_shards=num_head_shards,
        q_seq_shards=num_sequence_shards,
        residual_checkpoint_name=FLASH_RESIDUALS,
        interpret=interpret,
    )
