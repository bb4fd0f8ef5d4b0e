"""cuDNN's flash attention, through JAX.

B batch, S sequence, T sequence of keys, N query heads, K key/value heads, H head dim.
"""

import contextlib
from collections.abc import Iterator

import jax
from jax._src.cudnn import fused_attention_stablehlo

from axl_exp.model.qkv import QKV
from axl_exp.model.sharding import mesh_is_split, spec_in_use

_DECIDES = "should_export_dbias"


def cudnn_attention(
    qkv: QKV, segment_ids_BS: jax.Array, *, sliding_window: int | None = None
) -> jax.Array:
    """Return causal attention within segments, [B, S, N, H], of scaled queries.

    Neither logits nor probabilities are stored. Segments are a mask [B, 1, S, T] in the dtype of
    the queries, which every layer reads: cuDNN's packed layout would need a bound on the number of
    documents in a row. The causal half above the diagonal, and what lies before the window, is
    skipped.
    """

    def attend(query, key, value, segment_ids_BS):
        is_same_B1ST = (segment_ids_BS[:, :, None] == segment_ids_BS[:, None, :])[:, None]
        with _no_gradient_of_mask():
            return jax.nn.dot_product_attention(
                query,
                key,
                value,
                mask=is_same_B1ST,
                scale=1.0,
                is_causal=True,
                # Keys before the query itself.
                local_window_size=None if sliding_window is None else (sliding_window - 1, 0),
                implementation="cudnn",
            )

    if mesh_is_split():
        heads = spec_in_use("batch", None, "heads", None)
        attend = jax.shard_map(
            attend,
            in_specs=(heads, heads, heads, spec_in_use("batch", None)),
            out_specs=heads,
            check_vma=False,
        )
    return attend(*qkv, segment_ids_BS)


@contextlib.contextmanager
def _no_gradient_of_mask() -> Iterator[None]:
    """Let the backward kernel leave the gradient of the mask out, [B, 1, S, T] in every layer.

    JAX 0.10 asks for it whatever the mask is, and has one place where it decides so.
    """
    decide = getattr(fused_attention_stablehlo, _DECIDES, None)
    if decide is None:
        yield
        return
    setattr(fused_attention_stablehlo, _DECIDES, lambda *_: False)
    try:
        yield
    finally:
        setattr(fused_attention_stablehlo, _DECIDES, decide)
