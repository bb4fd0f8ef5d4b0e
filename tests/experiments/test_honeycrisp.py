"""honeycrisp against what AXLearn says of its own, field by field."""

import ast
import re
from pathlib import Path

import pytest

from axl_exp.model import num_params
from axl_exp.registry import load_config
from tests.experiments.honeycrisp_table import TABLE

FIELDS = {
    path: ast.literal_eval(value)
    for path, _, value in (
        line.partition(": ")
        for line in Path(__file__).with_name("axlearn_honeycrisp_3b.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


@pytest.fixture(scope="module")
def honeycrisp_3b():
    return load_config("honeycrisp-3B").config


def row_of(path: str):
    """The first row of the table that matches, and its match."""
    for row in TABLE:
        if match := re.fullmatch(row.pattern, path):
            return row, match
    raise AssertionError(f"{path} has no row in the table")


def test_all_289_fields_are_there():
    assert len(FIELDS) == 289


def test_every_row_of_the_table_is_used_and_says_why_where_ours_differs():
    assert {row_of(path)[0] for path in FIELDS} == set(TABLE)
    assert all(getattr(row, "because", "because") for row in TABLE)


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_of_axlearns_is_in_ours(honeycrisp_3b, path):
    row, match = row_of(path)
    row.check(honeycrisp_3b, match, FIELDS[path])


def test_evaluation_slides_by_a_quarter_of_a_row(honeycrisp_3b):
    assert honeycrisp_3b.evalers["openwebtext_2"].input.eval_stride_tokens == 4096 // 4


# Layers, width, heads, key-value heads, hidden width, rows per batch, steps, steps between saves.
@pytest.mark.parametrize(
    ("size", "numbers"),
    [
        ("85M", (12, 768, 12, 6, 2304, 256, 600_000, 1000)),
        ("3B", (26, 3072, 24, 8, 8064, 2048, 750_000, 5000)),
    ],
)
def test_every_size_has_its_published_numbers(size, numbers):
    cfg = load_config(f"honeycrisp-{size}").config
    decoder = cfg.model.decoder
    layer = decoder.transformer.layer
    attention = layer.self_attention.attention
    assert numbers == (
        decoder.transformer.num_layers,
        decoder.dim,
        attention.num_heads,
        attention.input_linear.input_linear.num_kv_heads,
        layer.feed_forward.hidden_dim,
        cfg.input.global_batch_size,
        cfg.max_step,
        cfg.checkpointer.save_policy.n,
    )
    num_layers, dim, heads, kv_heads, ffn_dim = numbers[:5]
    head_dim = dim // heads
    per_layer = dim * (2 * heads + 2 * kv_heads) * head_dim + 3 * dim * ffn_dim
    norms = 2 * dim + 2 * head_dim  # Before each half; of queries and of keys.
    assert num_params(cfg.model) == 49152 * dim + num_layers * (per_layer + norms) + dim


def test_a_wrong_value_is_noticed(honeycrisp_3b):
    path = "learner.optimizer.inner.weight_decay"
    row, match = row_of(path)
    with pytest.raises(AssertionError, match="is 0.000316, not 0.1"):
        row.check(honeycrisp_3b, match, 0.1)
