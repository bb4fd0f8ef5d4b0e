"""The step by hand is a second implementation of ours: same weights, same losses and gradients."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from axl_exp.mesh import MeshShape
from axl_exp.registry import load_config
from tools.bench import bare
from tools.bench.parity import ParityError, check_parity, sizes_of


def small_config() -> Any:
    cfg: Any = load_config("fuji-tiny").config.clone()
    cfg.set(train_dtype=np.dtype(np.float32), mesh_shape=MeshShape(), evalers={})
    cfg.input.set(global_batch_size=4, max_sequence_length=16)
    decoder = cfg.model.decoder.set(vocab_size=64, dim=32)
    decoder.transformer.num_layers = 2
    layer = decoder.transformer.layer
    layer.feed_forward.hidden_dim = 48
    layer.self_attention.attention.num_heads = 4
    layer.self_attention.attention.input_linear.input_linear.num_kv_heads = 2
    cfg.model.z_loss_scale = 1e-2
    return cfg


def batches(sizes: bare.Sizes, *, count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    drawn = [bare.random_batch(sizes, rng) for _ in range(count)]
    for batch in drawn:
        batch["segment_ids"][:, -2:] = 0  # Padding.
        batch["target_bytes"] = np.ones_like(batch["targets"])
    return drawn


@pytest.fixture(scope="module")
def trainer():
    return small_config().instantiate(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def compiled(trainer):
    return trainer.compile()


@pytest.mark.slow
def test_three_steps_of_ours_are_those_by_hand(trainer, compiled):
    sizes = sizes_of(trainer.config)
    said = check_parity(trainer, compiled, sizes, batches(sizes, count=3))
    assert said.startswith("parity: losses and gradient norms of 3 steps")


@pytest.mark.slow
def test_a_difference_of_two_in_a_hundred_thousand_is_noticed(trainer, compiled):
    sizes = sizes_of(trainer.config)

    def off_by_a_little(state: Any, batch: Any) -> tuple[Any, Any]:
        state, metrics = compiled(state, batch)
        return state, {**metrics, "gradient_norm": metrics["gradient_norm"] * (1 + 2e-5)}

    with pytest.raises(ParityError, match="gradient_norm of step 0: ours .*difference 2.0e-05"):
        check_parity(trainer, off_by_a_little, sizes, batches(sizes, count=1))


def test_a_config_with_parts_that_the_step_by_hand_lacks_is_refused():
    cfg = small_config()
    cfg.model.loss_chunk_tokens = 8
    with pytest.raises(ParityError, match="not by hand: loss_chunk_tokens"):
        sizes_of(cfg)
