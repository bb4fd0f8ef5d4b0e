"""What kernels of attention multiply, held against the masks that the kernels themselves go by."""

from __future__ import annotations

import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

from axl_exp.config import Override
from axl_exp.dryrun.facts import PlanFacts
from axl_exp.dryrun.kernels import seen_blocks
from axl_exp.dryrun.plan import plan_dry_run
from axl_exp.resolve import resolve

POSITIONS = 2048


@pytest.mark.parametrize("window", [None, 1, 100, 512, 513, 1000, 4096])
@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (256, 512), (512, 128)])
def test_seen_blocks_are_those_of_the_kernels_own_mask(window, rows, columns):
    size = (POSITIONS, POSITIONS)
    mask = (
        masks.CausalMask(size)
        if window is None
        else masks.LocalMask(size, (window - 1, 0), offset=0)
    )
    is_seen = np.asarray(mask[:, :])

    def count(seen: np.ndarray, rows: int, columns: int) -> list[int]:
        blocks = seen.reshape(POSITIONS // rows, rows, POSITIONS // columns, columns)
        return blocks.any(axis=(1, 3)).sum(axis=1).tolist()

    of_queries = seen_blocks(POSITIONS, rows=rows, columns=columns, window=window)
    assert of_queries == count(is_seen, rows, columns)
    of_keys = seen_blocks(POSITIONS, rows=columns, columns=rows, window=window)
    assert of_keys[::-1] == count(is_seen.T, columns, rows)


@pytest.mark.parametrize(
    ("selector", "block", "products"),
    [
        # The forward kernel runs again, and two backward ones make logits and their gradient each.
        ("tpu-v6e-4", 512, 2 + 2 + 3 + 4),
        ("gpu-h100-8", 128, 2 + 5),
    ],
)
def test_a_plan_counts_the_blocks_that_a_window_leaves(selector, block, products):
    """16 layers of 32 heads of 64."""

    def plan(window: int) -> PlanFacts:
        path = "model.decoder.transformer.layer.self_attention.attention.sliding_window"
        overrides = [Override(path, str(window))]
        return plan_dry_run(resolve("fuji-1B-v3", selector=selector, overrides=overrides))

    short, long = plan(512), plan(1024)
    rows, positions = short.batch
    # A block of queries sees its own and those of the window before it, as far as there are any.
    blocks = sum(
        min(row, 1024 // block + 1) - min(row, 512 // block + 1)
        for row in range(1, positions // block + 1)
    )
    heads = 16 * 32 * rows / short.num_devices
    expected = products * 2 * heads * 64 * blocks * block**2
    assert long.executed_flops - short.executed_flops == pytest.approx(expected, rel=1e-9)
