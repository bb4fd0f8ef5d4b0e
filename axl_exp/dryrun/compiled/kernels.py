"""Kernels: custom calls whose work the program does not show; operations are counted by formula.

Attention alone is known. It is causal in every model of ours, and may have a sliding window: blocks
count whole in which a query sees a key.
"""

from __future__ import annotations

import dataclasses
import math
import re

from axl_exp.dryrun.compiled.hlo import Array, Computation, Instruction
from axl_exp.dryrun.kernels import CUDNN_BLOCK, seen_blocks, sliding_window

# Products of queries with keys, or of arrays like them: two forward; five backward, where the
# logits are computed again (Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4). Without its
# fused kernel splash attention computes logits and their gradient in both backward kernels.
_SPLASH = re.compile(r"splash_m[hq]a_(fwd|dq|dkv)")
# The fused one makes the gradients of queries, keys and values, not of the last two alone.
_SPLASH_PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}
_FUSED_BACKWARD_PRODUCTS = 5
_CUDNN = re.compile(r"__cudnn\$fmha")
_CUDNN_PRODUCTS = {False: 2, True: 5}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What one run of a kernel works."""

    flops: float
    head_dim: int
    """The dim that a product of queries and keys sums over."""
    turns_seen: float
    """The share of its turns that go through blocks in which a query sees a key."""
    first_turns: float
    """The share of its turns that begin a row of blocks."""


def is_kernel(instruction: Instruction) -> bool:
    """Return whether the work of an instruction is not in the program: Pallas, Triton, cuDNN."""
    target = custom_call_target(instruction)
    if is_tpu_kernel(instruction) or target == "__gpu$xla.gpu.triton":
        return True
    return bool(_CUDNN.match(target))


def is_tpu_kernel(instruction: Instruction) -> bool:
    """Return whether an instruction calls a kernel for TPUs: Pallas."""
    return custom_call_target(instruction) == "tpu_custom_call"


def custom_call_target(instruction: Instruction) -> str:
    """Return what a custom call calls; '' for everything else."""
    if instruction.opcode != "custom-call":
        return ""
    return (instruction.attribute("custom_call_target") or "").strip('"')


def attention_kernel(where: Computation, instruction: Instruction) -> Kernel | None:
    """Return the work of splash attention or of cuDNN's attention; None for other kernels."""
    inputs = [
        array
        for name in instruction.operands
        if name in where.by_name
        for array in where.by_name[name].arrays
        if array.dtype in ("bf16", "f16", "f32") and len(array.dims) >= 3
    ]
    if len(inputs) < 2:
        return None
    splash = _SPLASH.search(instruction.op_name) or _SPLASH.search(instruction.name)
    if splash:
        return _splash_kernel(instruction, splash[1], inputs)
    target = custom_call_target(instruction)
    if _CUDNN.match(target):
        told = re.search(r'"sliding_window_length":(\d+)', instruction.attributes)
        return _kernel(
            inputs,
            _CUDNN_PRODUCTS["Backward" in target],
            sequence_dim=-3 if _is_bsnh(inputs) else -2,
            blocks=(CUDNN_BLOCK, CUDNN_BLOCK),
            window=int(told[1]) or None if told else None,
        )
    return None


def _splash_kernel(instruction: Instruction, part: str, inputs: list[Array]) -> Kernel:
    sizes = {
        name: int(size)
        for name, size in re.findall(r'\\?"(block_\w+)\\?": (\d+)', instruction.attributes)
    }
    products = _SPLASH_PRODUCTS[part]
    key = inputs[1]  # What a kernel works in is smaller, and an output too.
    gradients = [
        a
        for a in instruction.arrays
        if len(a.dims) >= len(key.dims) and a.num_elements >= key.num_elements
    ]
    is_fused = part == "dkv" and len(gradients) > 2
    if is_fused:
        products = _FUSED_BACKWARD_PRODUCTS
    suffix = "" if part == "fwd" else f"_{part}"
    queries, keys = (sizes.get(f"block_{of}{suffix}", 1) for of in ("q", "kv"))
    return _kernel(
        inputs,
        products,
        sequence_dim=-2,
        blocks=(keys, queries) if part == "dkv" else (queries, keys),
        window=sliding_window(instruction.op_name),
        skips_turns=not is_fused,
    )


def _kernel(
    inputs: list[Array],
    products: int,
    *,
    sequence_dim: int,
    blocks: tuple[int, int],
    window: int | None,
    skips_turns: bool = True,
) -> Kernel:
    """Return the work of attention whose turns are rows of blocks, each of `blocks` positions.

    A kernel that skips turns has as many in each row as the longest row has seen blocks.
    """
    query, key = inputs[0], inputs[1]
    num_keys = key.dims[sequence_dim]
    rows, columns = (min(block, num_keys) for block in blocks)
    seen = seen_blocks(num_keys, rows=rows, columns=columns, window=window)
    num_columns = math.ceil(num_keys / columns)
    turns = max(seen) if skips_turns else num_columns
    share = sum(seen) / (len(seen) * num_columns)
    return Kernel(
        flops=products * 2.0 * math.prod(query.dims) * num_keys * share,
        head_dim=query.dims[-1],
        turns_seen=sum(seen) / (len(seen) * turns),
        first_turns=1 / turns,
    )


def _is_bsnh(inputs: list[Array]) -> bool:
    """Whether heads come after positions: there are more positions than heads."""
    return len(inputs[0].dims) >= 4 and inputs[0].dims[-3] > inputs[0].dims[-2]
