"""Counts against published ones and closed forms; no weight is ever allocated."""

import time

import pytest

from axl_exp.model import FLOP_FORMULA, abstract_model, flops_per_token, num_params

# Llama models of the same shapes, as their published checkpoints count: layers, dim, heads,
# key/value heads, feed-forward dim, whether the head is tied, vocabulary, parameters.
PUBLISHED = {
    "Llama-2-7B": (32, 4096, 32, 32, 11008, False, 32000, 6_738_415_616),
    "Llama-3.2-1B": (16, 2048, 32, 8, 8192, True, 128256, 1_235_814_400),
    "Llama-3.2-3B": (28, 3072, 24, 8, 8192, True, 128256, 3_212_749_824),
    "Llama-3.1-8B": (32, 4096, 32, 8, 14336, False, 128256, 8_030_261_248),
    "Llama-3.1-70B": (80, 8192, 64, 8, 28672, False, 128256, 70_553_706_496),
    "Llama-3.1-405B": (126, 16384, 128, 8, 53248, False, 128256, 405_853_388_800),
}


def config_of(model_config, row):
    layers, dim, heads, kv_heads, hidden_dim, tied, vocab_size, _ = row
    return model_config(
        num_layers=layers,
        dim=dim,
        num_heads=heads,
        num_kv_heads=kv_heads,
        hidden_dim=hidden_dim,
        tied_head=tied,
        vocab_size=vocab_size,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(model_config, name):
    assert num_params(config_of(model_config, PUBLISHED[name])) == PUBLISHED[name][-1]


def test_fuji_1b_v3_has_1_24_billion_parameters(model_config):
    # Its table of 131072 tokens, and the layers of Llama-3.2-1B.
    cfg = config_of(model_config, (16, 2048, 32, 8, 8192, True, 131072, None))
    assert num_params(cfg) == 1_235_814_400 + (131072 - 128256) * 2048 == 1_241_581_568


def test_405b_parameters_are_counted_within_a_second_and_without_memory(model_config):
    start = time.perf_counter()
    model = abstract_model(config_of(model_config, PUBLISHED["Llama-3.1-405B"]))
    assert time.perf_counter() - start < 1.0
    table = model.decoder.emb.token_emb.weight
    assert table.shape == (128256, 16384) and not hasattr(table.get_value(), "addressable_shards")


@pytest.mark.parametrize("tied_head", [True, False])
def test_flops_are_those_of_the_products_whether_or_not_the_head_is_tied(model_config, tied_head):
    cfg = model_config(tied_head=tied_head)  # 3 layers, dim 24, heads 6/2 of 4, ffn 40, vocab 64
    weights = 3 * (24 * (6 + 2 * 2) * 4 + 24 * 6 * 4 + 3 * 24 * 40) + 64 * 24
    attention = 12 * 3 * 24 * 128
    flops = flops_per_token(cfg, sequence_length=128)
    assert flops.full == 6 * weights + attention
    assert flops.causal == 6 * weights + attention / 2


@pytest.mark.parametrize(("window", "seen"), [(128, 64), (300, 64), (32, 32 - 4), (1, 1 - 1 / 256)])
def test_a_sliding_window_leaves_fewer_keys_to_count(model_config, window, seen):
    """Queries at the start of a row of 128 see fewer keys than the window has."""
    cfg = model_config()
    without = flops_per_token(cfg, sequence_length=128)
    cfg.decoder.transformer.layer.self_attention.attention.sliding_window = window
    flops = flops_per_token(cfg, sequence_length=128)
    assert flops.full == without.full
    assert without.causal - flops.causal == pytest.approx(12 * 3 * 24 * (64 - seen))


def test_the_formula_has_a_version():
    assert FLOP_FORMULA == "axl_exp.flops/1"
