"""The products of kernels, which the program shows as one operation."""

from __future__ import annotations

import math
import re
from typing import Any

from axl_exp.dryrun.program import Op

# Products of all queries with all keys: two forward, and five backward, where the first is repeated
# (Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4).
_CUDNN_PRODUCTS = {"dot_product_attention_fwd_wrapper": 2, "dot_product_attention_bwd_wrapper": 5}
CUDNN_BLOCK = 128
"""Queries and keys of a block of cuDNN's attention."""


def kernel_flops(op: Op) -> float:
    """Return the operations of the products in a kernel on one device; 0 if `op` is none.

    Our attention is causal, and may have a sliding window: blocks that no query sees do not count.
    """
    if op.name in _CUDNN_PRODUCTS:
        (batch, queries, heads, dim), keys = op.inputs[0].shape, op.inputs[1].shape[1]
        window = op.params["sliding_window_length"] or None
        seen = seen_blocks(keys, rows=CUDNN_BLOCK, columns=CUDNN_BLOCK, window=window)
        share = sum(seen) / len(seen) ** 2
        return _CUDNN_PRODUCTS[op.name] * 2.0 * batch * heads * queries * keys * dim * share
    if op.name == "pallas_call":
        turns = math.prod(op.params["grid_mapping"].grid)
        return turns * _products_flops(op.params["jaxpr"]) * _share_of_turns(op)
    return 0.0


def is_kernel(op: Op) -> bool:
    """Return whether `op` is a kernel."""
    return op.name == "pallas_call" or op.name in _CUDNN_PRODUCTS


def seen_blocks(num_positions: int, *, rows: int, columns: int, window: int | None) -> list[int]:
    """Return, of each block of queries, how many blocks of keys have one that it sees.

    A query sees itself and the keys before it, with a window the last so many of these. The same
    are the blocks of queries that see one of each block of keys, the last block first.

    Args:
        num_positions: Queries, and as many keys.
        rows, columns: Those of a block: queries and keys, or keys and queries.
        window: How many keys a query sees at most.
    """
    seen = []
    for first in range(0, num_positions, rows):
        last = min(first + rows, num_positions) - 1
        begin = 0 if window is None else max(0, first - window + 1)
        seen.append(last // columns - begin // columns + 1)
    return seen


def sliding_window(scopes: str) -> int | None:
    """Return the window that splash attention says in the scopes of an operation."""
    found = re.search(r"sliding_window_(\d+)", scopes)
    return int(found[1]) if found else None


def _share_of_turns(op: Op) -> float:
    """The share of a kernel's turns that multiply: in splash attention not those of unseen blocks.

    Its grid may leave out such blocks already.
    """
    if "splash" not in op.where:
        return 1.0
    query, key = op.params["grid_mapping"].block_mappings[:2]
    num_queries, num_keys = (of.array_aval.shape[-2] for of in (query, key))
    rows, columns = (of.block_shape[-2].block_size for of in (query, key))
    seen = seen_blocks(num_keys, rows=rows, columns=columns, window=sliding_window(op.where))
    # A device has its part of the queries, and its first input a number for each turn of a head.
    return sum(seen) * num_queries / num_keys / math.prod(op.inputs[0].shape)


def _products_flops(jaxpr: Any) -> float:
    """Operations of all products in a kernel, those in its branches too, in its loops each turn."""
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            total += _product_flops(eqn)
        for param in eqn.params.values():
            for inner in param if isinstance(param, (tuple, list)) else (param,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += eqn.params.get("length", 1) * _products_flops(inner)
    return total


def _product_flops(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    summed = math.prod(eqn.invars[0].aval.shape[dim] for dim in contracted)
    return 2.0 * summed * math.prod(eqn.outvars[0].aval.shape)
