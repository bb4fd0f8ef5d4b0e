"""Configs in the shape of runs that others measured: `python -m tools.measured`."""

from __future__ import annotations

import pytest

from axl_exp.model import flops_per_token
from axl_exp.resolve import resolve
from tools.measured.configs import SETUPS
from tools.measured.rows import ROWS


def test_every_setup_is_a_row_of_the_table():
    assert [row.config for row in ROWS if row.config in SETUPS] == list(SETUPS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.config} {row.selector}")
def test_a_run_is_compiled_without_what_it_lacked(row):
    ours = resolve(row.config, selector=row.selector, module="tools.measured.configs").config
    options = row.resolved().config.compiler_options
    assert options == {k: v for k, v in ours.compiler_options.items() if k not in row.lacks}
    if row.config.startswith("fuji") and row.selector.startswith("tpu-v5"):
        assert options != ours.compiler_options


@pytest.mark.parametrize(
    ("config", "basis", "published_flops_per_second"),
    [
        ("maxtext-llama3.1-8B", "full", 0.455 * 918e12),
        ("maxtext-llama3.1-70B", "full", 0.503 * 918e12),
        ("maxtext-llama2-70B", "full", 0.654 * 459e12),
        ("torchtitan-llama3.1-8B", "full", 0.39 * 989e12),
        ("megatron-llama3-8B-fp8", "causal", 744e12),
        ("maxtext-32B-v5e", "full", 132e12),
    ],
)
def test_a_shape_has_the_operations_that_were_published_with_its_speed(
    config, basis, published_flops_per_second
):
    (row,) = (row for row in ROWS if row.config == config)
    cfg = resolve(config, selector=row.selector, module="tools.measured.configs").config
    flops = flops_per_token(cfg.model, sequence_length=cfg.input.max_sequence_length)
    ours = row.tokens_per_second_per_device * getattr(flops, basis)
    # Published with three digits; whether the lookup and the norms count differs.
    assert ours == pytest.approx(published_flops_per_second, rel=0.03)
