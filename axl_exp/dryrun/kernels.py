"""The products of kernels, which the program shows as one operation."""

from __future__ import annotations

import math
from typing import Any

from axl_exp.dryrun.program import Op

# Of the blocks of queries and keys, a causal mask leaves this share, those on the diagonal aside.
_CAUSAL = 0.5
# Products of all queries with all keys: two forward, and five backward, where the first is repeated
# (Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4).
_CUDNN_PRODUCTS = {"dot_product_attention_fwd_wrapper": 2, "dot_product_attention_bwd_wrapper": 5}


def kernel_flops(op: Op) -> float:
    """Return the operations of the products in a kernel on one device; 0 if `op` is none.

    Our kernels are causal attention: of what they would do with every block, half counts.
    """
    if op.name in _CUDNN_PRODUCTS:
        (batch, queries, heads, dim), keys = op.inputs[0].shape, op.inputs[1].shape[1]
        return _CUDNN_PRODUCTS[op.name] * 2.0 * batch * heads * queries * keys * dim * _CAUSAL
    if op.name == "pallas_call":
        turns = math.prod(op.params["grid_mapping"].grid)
        return turns * _products_flops(op.params["jaxpr"]) * _CAUSAL
    return 0.0


def is_kernel(op: Op) -> bool:
    """Return whether `op` is a kernel."""
    return op.name == "pallas_call" or op.name in _CUDNN_PRODUCTS


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
