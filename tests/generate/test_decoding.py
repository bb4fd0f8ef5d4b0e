"""Generation with the cache, of rows of different lengths, against a forward pass per token."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axl_exp.generate.decoding import Decoder
from axl_exp.generate.placement import place
from axl_exp.generate.sampling import Sampling
from axl_exp.model import ALiBi, Llama31RotaryScaling, LmHead, RMSNorm
from axl_exp.train.state import PureModel
from tests.trained_runs import drawn_params, small_config

PROMPTS = ([5, 9, 3, 7, 1, 8, 2], [4], [11, 12, 13])
NUM_NEW = 10
NO_EOS = -1


def one_device(model):
    return place(model, jax.devices()[:1])


def attention_of(cfg):
    return cfg.decoder.transformer.layer.self_attention.attention


def llama(cfg):
    """As it is: rotary on interleaved pairs, grouped heads, a tied head."""


def half_split_scaled_with_rotary_values(cfg):
    cfg.decoder.lm_head = LmHead.default_config()
    linear = attention_of(cfg).input_linear.set(rotary_value=True)
    scaling = Llama31RotaryScaling.default_config().set(original_max_positions=32)
    linear.rope_pos_emb_layer.set(layout="half_split", scaling=scaling)


def alibi(cfg):
    attention = attention_of(cfg)
    attention.set(
        input_linear=attention.input_linear.input_linear, logit_bias=ALiBi.default_config()
    )


def no_positions(cfg):
    attention_of(cfg).input_linear = attention_of(cfg).input_linear.input_linear


def window_with_caps_and_norms(cfg):
    cfg.decoder.logit_cap = 3.0
    attention = attention_of(cfg).set(sliding_window=4, logit_cap=2.0)
    attention.query_scale.norm = RMSNorm.default_config()
    attention.key_scale.norm = RMSNorm.default_config()
    cfg.decoder.transformer.layer.self_attention.structure = "postnorm"
    cfg.decoder.transformer.layer.feed_forward.structure = "hybridnorm"


def multi_query_with_alibi_and_window(cfg):
    alibi(cfg)
    attention_of(cfg).set(sliding_window=3).input_linear.num_kv_heads = 1


VARIANTS = [
    llama,
    half_split_scaled_with_rotary_values,
    alibi,
    no_positions,
    window_with_caps_and_norms,
    multi_query_with_alibi_and_window,
]


def model_of(change):
    cfg = small_config().model
    change(cfg)
    model = PureModel(cfg)
    return model, drawn_params(model, seed=0)


def without_cache(model, params, prompts, *, num_new, compiled):
    """Return greedy tokens by a whole forward pass for each, every prompt by itself."""

    def most_likely(params, row_T, length):
        batch = {
            "inputs": row_T[None],
            "positions": jnp.arange(len(row_T))[None],
            "segment_ids": (jnp.arange(len(row_T)) < length).astype(jnp.int32)[None],
        }
        return jnp.argmax(model.bind(params)(batch)[0, length - 1])

    step, results = compiled(most_likely), []
    for prompt in prompts:
        row = np.zeros(24, np.int32)
        row[: len(prompt)] = prompt
        for length in range(len(prompt), len(prompt) + num_new):
            row[length] = step(params, row, length)
        results.append(row[len(prompt) : len(prompt) + num_new].tolist())
    return results


def with_cache(model, params, prompts, *, num_new, chunk=100, eos_id=NO_EOS, sampling=None):
    """Return the new tokens of each row."""
    decoder = Decoder(model, mesh=one_device(model), sampling=sampling or Sampling(), eos_id=eos_id)
    limits = [len(prompt) + num_new for prompt in prompts]
    rows = decoder.start(params, prompts, limits)
    while not np.all(rows.is_done):
        rows = decoder.go_on(params, rows, limits, num_steps=chunk)
    return [
        np.asarray(row)[len(prompt) : length].tolist()
        for row, prompt, length in zip(rows.tokens, prompts, rows.lengths, strict=True)
    ]


@pytest.mark.parametrize("change", VARIANTS)
def test_tokens_with_the_cache_are_those_without(change, compiled):
    model, params = model_of(change)
    expected = without_cache(model, params, PROMPTS, num_new=NUM_NEW, compiled=compiled)
    # A model that says one thing whatever it sees would prove nothing.
    assert len({token for row in expected for token in row}) > 5
    assert with_cache(model, params, PROMPTS, num_new=NUM_NEW) == expected


def test_logits_of_a_batch_with_the_cache_are_those_of_a_forward_pass(compiled):
    model, params = model_of(window_with_caps_and_norms)
    tokens = np.random.default_rng(0).integers(1, 600, (2, 16)).astype(np.int32)
    positions = np.broadcast_to(np.arange(16), tokens.shape)
    batch = {"inputs": tokens, "positions": positions, "segment_ids": np.ones_like(tokens)}
    expected = compiled(lambda p, b: model.bind(p)(b))(params, batch)

    def in_two_parts(params):
        decoder = model.bind(params).decoder
        cache = decoder.empty_cache(batch_size=2, num_positions=20, dtype=jnp.float32)
        parts = []
        for part in (slice(0, 9), slice(9, 16)):
            hidden, cache = decoder.extend(
                tokens[:, part], positions_BS=jnp.asarray(positions[:, part]), cache=cache
            )
            parts.append(decoder.logits(hidden))
        return jnp.concatenate(parts, axis=1)

    logits = compiled(in_two_parts)(params)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_how_many_tokens_are_made_at_a_time_does_not_change_them(temperature):
    model, params = model_of(llama)
    sampling = Sampling(temperature=temperature, top_k=50, top_p=0.9, seed=3)
    whole, parts = (
        with_cache(model, params, PROMPTS, num_new=NUM_NEW, chunk=chunk, sampling=sampling)
        for chunk in (100, 3)
    )
    assert whole == parts


def test_a_row_ends_with_the_token_that_ends_it_and_the_others_go_on():
    model, params = model_of(llama)
    free = with_cache(model, params, PROMPTS, num_new=NUM_NEW)
    eos_id = next(token for token in free[0][2:] if token not in free[1])
    ended = with_cache(model, params, PROMPTS, num_new=NUM_NEW, eos_id=eos_id)
    assert ended[0] == free[0][: free[0].index(eos_id) + 1]
    assert ended[1] == free[1]


def test_each_row_has_a_limit_of_its_own():
    model, params = model_of(llama)
    decoder = Decoder(model, mesh=one_device(model), sampling=Sampling(), eos_id=NO_EOS)
    limits = [len(PROMPTS[0]) + 1, 6, 20]
    rows = decoder.go_on(params, decoder.start(params, PROMPTS, limits), limits, num_steps=99)
    assert rows.lengths.tolist() == limits


def test_the_same_sizes_are_compiled_once():
    model, params = model_of(llama)
    decoder = Decoder(model, mesh=one_device(model), sampling=Sampling(), eos_id=NO_EOS)
    for prompts in (PROMPTS, ([1, 2], [3, 4, 5, 6], [7])):
        limits = [20, 20, 20]
        rows = decoder.start(params, prompts, limits)
        for num_steps in (1, 5):
            rows = decoder.go_on(params, rows, limits, num_steps=num_steps)
    programs: list[Any] = [decoder._prefill, decoder._decode]
    assert [program._cache_size() for program in programs] == [1, 1]
