"""The multiplications and additions of the matrix products that a compiled program executes."""

from __future__ import annotations

import functools
import math
import re

from axl_exp.dryrun.compiled.hlo import Computation, HloTextError, Instruction

_SIZES = {"size": 1, "stride": 1, "lhs_dilate": 1, "rhs_dilate": 1}


def product_flops(computation: Computation, instruction: Instruction) -> int:
    """Return the operations of a `dot` or `convolution`, 2 for each multiply-add; 0 for others.

    TPU programs write all matrix products as convolutions, batch dims as windows: only window
    positions that fall on the input count, not those on what pads or dilates it.

    Raises:
        HloTextError: The dims of the product are not understood.
    """
    if instruction.opcode == "dot":
        left = computation.operand(instruction, 0).arrays[0]
        dims = instruction.attribute("lhs_contracting_dims") or "{}"
        contracted = [left.dims[int(d)] for d in re.findall(r"\d+", dims)]
        return 2 * instruction.arrays[0].num_elements * math.prod(contracted)
    if instruction.opcode == "convolution":
        return _convolution_flops(computation, instruction)
    return 0


def _convolution_flops(computation: Computation, instruction: Instruction) -> int:
    labels = re.fullmatch(r"(\w+)_(\w+)->(\w+)", instruction.attribute("dim_labels") or "")
    if not labels:
        raise HloTextError(f"compiled program: {instruction.name} has no dim_labels")
    left, right = (computation.operand(instruction, i).arrays[0].dims for i in (0, 1))
    output = instruction.arrays[0].dims
    if not len(left) == len(right) == len(output) == len(labels[1]):
        raise HloTextError(f"compiled program: {instruction.name} does not fit its dim_labels")
    features_in = right[labels[2].index("i")]
    total = 2 * output[labels[3].index("b")] * output[labels[3].index("f")] * features_in
    window = _window(instruction, num_dims=len(output) - 2)
    for number, dim in enumerate(window):
        total *= _valid_positions(
            input_size=left[labels[1].index(str(number))],
            output_size=output[labels[3].index(str(number))],
            **dim,
        )
    batch_groups = re.search(r"batch_group_count=(\d+)", instruction.attributes)
    return total // (int(batch_groups[1]) if batch_groups else 1)


def _window(instruction: Instruction, *, num_dims: int) -> list[dict[str, int]]:
    text = (instruction.attribute("window") or "{}").strip("{}")
    fields = dict(part.split("=", 1) for part in text.split())
    dims = [dict(_SIZES, pad_low=0) for _ in range(num_dims)]
    for name, value in fields.items():
        parts = value.split("x")
        if name == "rhs_reversal":
            continue  # Where a window begins to be read changes no count.
        if (name not in _SIZES and name != "pad") or len(parts) != num_dims:
            raise HloTextError(f"compiled program: window {text!r} of {instruction.name}")
        for dim, part in zip(dims, parts, strict=True):
            dim["pad_low" if name == "pad" else name] = int(part.partition("_")[0])
    return dims


@functools.lru_cache(maxsize=4096)
def _valid_positions(
    *,
    input_size: int,
    output_size: int,
    size: int,
    stride: int,
    lhs_dilate: int,
    rhs_dilate: int,
    pad_low: int,
) -> int:
    """Return how many pairs (output, window position) fall on an element of the input."""
    last = (input_size - 1) * lhs_dilate
    count = 0
    for position in range(size):
        offset = position * rhs_dilate - pad_low
        # Outputs o with 0 <= o * stride + offset <= last, on a multiple of lhs_dilate.
        low = max(0, (stride - 1 - offset) // stride)
        high = min(output_size - 1, (last - offset) // stride)
        if high < low:
            continue
        if lhs_dilate == 1:
            count += high - low + 1
        else:
            count += sum((o * stride + offset) % lhs_dilate == 0 for o in range(low, high + 1))
    return count
