"""The bare step made to compute what a trainer of ours computes, and the proof that it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from axl_exp.train.trainer import SpmdTrainer
from tools.bench import bare

MAX_RELATIVE_DIFFERENCE = 1e-5
# What the fuji recipe keeps, and the step by hand too.
FUJI_REMAT = "[qkvo]_proj|context"


class ParityError(Exception):
    """The two steps compute different things, so their times say nothing."""


def sizes_of(cfg: Any) -> bare.Sizes:
    """Return the sizes with which the bare step equals the trainer config `cfg`, a fuji.

    Raises:
        ParityError: The config has a part that the bare step lacks.
    """
    decoder, optimizer = cfg.model.decoder, cfg.learner.optimizer
    layer = decoder.transformer.layer
    attention, schedule = layer.self_attention.attention, optimizer.update_schedule
    qkv = attention.input_linear
    remat = layer.remat_spec
    lacking = {
        "remat_spec of its own": remat is not None and remat.save != FUJI_REMAT,
        "loss_chunk_tokens": cfg.model.loss_chunk_tokens is not None,
    }
    if any(lacking.values()):
        raise ParityError(f"not by hand: {', '.join(name for name in lacking if lacking[name])}")
    return bare.Sizes(
        vocab_size=decoder.vocab_size,
        dim=decoder.dim,
        num_layers=decoder.transformer.num_layers,
        num_heads=attention.num_heads,
        num_kv_heads=qkv.input_linear.num_kv_heads,
        feed_forward_dim=layer.feed_forward.hidden_dim,
        batch=cfg.input.global_batch_size,
        sequence=cfg.input.max_sequence_length,
        rope_theta=qkv.rope_pos_emb_layer.theta,
        norm_eps=decoder.output_norm.eps,
        z_loss_scale=cfg.model.z_loss_scale or 0.0,
        tied_head=decoder.lm_head is None,
        dtype=np.dtype(cfg.train_dtype).name,
        remat=remat is not None,
        unroll=decoder.transformer.unroll,
        peak_learning_rate=optimizer.learning_rate * schedule.peak_lr,
        warmup_steps=schedule.warmup_steps,
        max_step=schedule.max_step,
        alpha=schedule.alpha,
        b1=optimizer.b1,
        b2=optimizer.b2,
        adam_eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        max_norm=cfg.learner.gradient_clipping.max_norm,
        mu_dtype=np.dtype(optimizer.mu_dtype or np.float32).name,
    )


def bare_params(params: Mapping[str, Any]) -> bare.Params:
    """Return copies of our parameters under the bare step's names; the layouts are the same."""
    decoder = params["decoder"]
    layer = decoder["transformer"]["layer"]
    attention, feed_forward = layer["self_attention"], layer["feed_forward"]
    ours = {
        "embedding": decoder["emb"]["token_emb"]["weight"],
        "layers": {
            "attention_norm": attention["norm"]["scale"],
            "qkv": attention["attention"]["i_proj"]["i_proj"]["qkv_proj"]["weight"],
            "out": attention["attention"]["o_proj"]["weight"],
            "feed_forward_norm": feed_forward["norm"]["scale"],
            "gate": feed_forward["linear1_0"]["weight"],
            "up": feed_forward["linear1_1"]["weight"],
            "down": feed_forward["linear2"]["weight"],
        },
        "norm": decoder["output_norm"]["scale"],
    }
    if "lm_head" in decoder:
        ours["head"] = decoder["lm_head"]["weight"]
    return jax.tree.map(lambda x: jax.numpy.array(np.asarray(x)), ours)


def check_parity(
    trainer: SpmdTrainer,
    compiled: Callable[..., Any],
    sizes: bare.Sizes,
    batches: Sequence[Mapping[str, np.ndarray]],
) -> str:
    """Return in words how closely both steps agree over `batches`, from the same weights.

    Later losses depend on the updates, so they compare gradients and optimizers too.

    Raises:
        ParityError: A loss or gradient norm differs by more than MAX_RELATIVE_DIFFERENCE.
    """
    state = trainer.init_state()
    bare_state = bare.init_state(bare_params(state.params))
    largest = 0.0
    for step, batch in enumerate(batches):
        state, ours = compiled(state, trainer.put(batch))
        bare_state, by_hand = bare.train_step(sizes, bare_state, bare_batch(batch))
        for name in ("loss", "gradient_norm"):
            a, b = float(ours[name]), float(by_hand[name])
            difference = abs(a - b) / abs(b)
            largest = max(largest, difference)
            if not math.isclose(a, b, rel_tol=MAX_RELATIVE_DIFFERENCE):
                raise ParityError(
                    f"{name} of step {step}: ours {a:.8g}, by hand {b:.8g} "
                    f"(relative difference {difference:.1e} > {MAX_RELATIVE_DIFFERENCE:.0e})"
                )
    return (
        f"parity: losses and gradient norms of {len(batches)} steps from the same weights agree "
        f"to {largest:.1e}"
    )


def bare_batch(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parts of a batch that the bare step reads."""
    return {name: batch[name] for name in ("inputs", "targets", "segment_ids", "positions")}
