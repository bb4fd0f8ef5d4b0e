"""The fuji recipe: a decoder in LLaMA's manner, trained with AdamW on one text dataset."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from axl_exp.config import config_for_function
from axl_exp.data import Input, TfdsTextSource, Vocabulary
from axl_exp.mesh import MeshShape
from axl_exp.model import CausalLM, LmHead, RematSpec
from axl_exp.optim import Learner, adamw, clip_by_global_norm, cosine_with_linear_warmup
from axl_exp.train.evaler import Evaler
from axl_exp.train.policy import every_n_steps_and_last_policy
from axl_exp.train.trainer import SpmdTrainer
from experiments.fuji.sizes import SIZES, VERSIONS, Size, Version, total_tokens


def model_config(
    size: Size, *, num_kv_heads: int, vocab_size: int, rope_theta: float
) -> CausalLM.Config:
    """Return the decoder: RMSNorm before each half, rotary positions, SwiGLU, no biases.

    The backward pass keeps the attention's products and computes the rest of a layer again.
    """
    cfg = CausalLM.default_config()
    decoder = cfg.decoder.set(vocab_size=vocab_size, dim=size.dim)
    if not size.tied_head:
        decoder.lm_head = LmHead.default_config()
    decoder.transformer.num_layers = size.num_layers
    layer = decoder.transformer.layer
    layer.remat_spec = RematSpec(save="[qkvo]_proj|context")
    layer.feed_forward.hidden_dim = size.ffn_dim
    attention = layer.self_attention.attention.set(num_heads=size.num_heads)
    attention.input_linear.input_linear.num_kv_heads = num_kv_heads
    attention.input_linear.rope_pos_emb_layer.theta = rope_theta
    return cfg


def learner_config(*, peak_lr: float, weight_decay: float, max_step: int) -> Learner.Config:
    """Return AdamW after a global clip at 1; the rate warms up, then falls to a tenth."""
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=max_step, warmup_steps=2000, begin_value=0.0, alpha=0.1
    )
    optimizer = config_for_function(adamw).set(
        learning_rate=peak_lr,
        b1=0.9,
        b2=0.95,
        eps=1e-8,
        weight_decay=weight_decay,
        update_schedule=schedule,
    )
    clip = config_for_function(clip_by_global_norm).set(max_norm=1.0, eps=1e-8)
    return Learner.default_config().set(optimizer=optimizer, gradient_clipping=clip)


def c4_input_config(version: Version, *, split: str, global_batch_size: int) -> Input.Config:
    """Return a split of C4 in English, with the version's vocabulary, newlines and row length."""
    source = TfdsTextSource.default_config().set(
        dataset_name="c4/en:3.0.1", split=split, replace_newlines_with=version.newline
    )
    return Input.default_config().set(
        source=source,
        vocabulary=Vocabulary.default_config().set(model_name=version.vocabulary),
        max_sequence_length=version.max_sequence_length,
        global_batch_size=global_batch_size,
        is_training=split == "train",
    )


def trainer_config(
    *,
    size: Size,
    num_kv_heads: int,
    version: Version,
    max_step: int,
    global_batch_size: int,
    weight_decay: float,
    eval_every_n_steps: int,
    save_every_n_steps: int,
) -> SpmdTrainer.Config:
    """Return a trainer config; `version` gives vocabulary, sequence length and rotary theta."""

    def input_config(split: str) -> Input.Config:
        return c4_input_config(version, split=split, global_batch_size=global_batch_size)

    eval_policy = config_for_function(every_n_steps_and_last_policy).set(n=eval_every_n_steps)
    save_policy = config_for_function(every_n_steps_and_last_policy).set(n=save_every_n_steps)
    cfg = SpmdTrainer.default_config().set(
        model=model_config(
            size,
            num_kv_heads=num_kv_heads,
            vocab_size=version.vocab_size,
            rope_theta=version.rope_theta,
        ),
        learner=learner_config(peak_lr=size.peak_lr, weight_decay=weight_decay, max_step=max_step),
        input=input_config("train"),
        evalers={
            # How well it fits text that it has seen, and text that it has not.
            "train": Evaler.default_config().set(
                input=input_config("train[:8192]"), eval_policy=eval_policy
            ),
            "validation": Evaler.default_config().set(
                input=input_config("validation"), eval_policy=eval_policy
            ),
        },
        mesh_shape=MeshShape(data=-1, fsdp=8),
        max_step=max_step,
        train_dtype=jnp.bfloat16,
    )
    cfg.model.decoder.pad_token_id = version.pad_token_id
    cfg.checkpointer.set(save_policy=save_policy, keep_last_n=3, keep_every_n_steps=50_000)
    return cfg


def fuji(size_name: str, version_name: str) -> SpmdTrainer.Config:
    """Return one of the published models, such as `fuji("7B", "v2")`."""
    size, version = SIZES[size_name], VERSIONS[version_name]
    multi_head = version_name in size.multi_head_versions
    return trainer_config(
        size=size,
        num_kv_heads=size.num_heads if multi_head else size.num_kv_heads,
        version=version,
        max_step=total_tokens(size_name, version_name) // version.tokens_per_step,
        global_batch_size=version.tokens_per_step // version.max_sequence_length,
        weight_decay=0.1,
        eval_every_n_steps=5000,
        save_every_n_steps=5000,
    )


def fuji_single_host(size_name: str, version_name: str) -> SpmdTrainer.Config:
    """Return the variant whose batch fits one host; the rest is that of the published model."""
    cfg = fuji(size_name, version_name)
    divisor = VERSIONS[version_name].single_host_divisor
    inputs: list[Any] = [cfg.input, *(evaler.input for evaler in cfg.evalers.values())]
    for input_cfg in inputs:
        input_cfg.global_batch_size //= divisor
    return cfg


def fuji_test(version_name: str) -> SpmdTrainer.Config:
    """Return AXLearn's tiny model for tests: its shape, for golden review and tests of ours.

    No text can be written in its 32 tokens, so that a launch refuses every vocabulary and names the
    override with which it runs.
    """
    size = Size(
        num_layers=4,
        dim=8,
        num_heads=4,
        num_kv_heads=2,
        ffn_dim=32,
        peak_lr=6e-4,
        versions=tuple(VERSIONS),
        tied_head=True,
    )
    version = dataclasses.replace(VERSIONS[version_name], vocab_size=32, max_sequence_length=64)
    cfg = trainer_config(
        size=size,
        num_kv_heads=size.num_kv_heads,
        version=version,
        max_step=3000,
        global_batch_size=32,
        weight_decay=0.01,
        eval_every_n_steps=1500,
        save_every_n_steps=500,
    )
    return cfg.set(mesh_shape=MeshShape(data=-1))


def with_flash(cfg: SpmdTrainer.Config) -> SpmdTrainer.Config:
    """Return the variant that runs on a flash attention kernel or not at all."""
    cfg.model.decoder.transformer.layer.self_attention.attention.backend = "flash"
    return cfg


def with_fp8(cfg: SpmdTrainer.Config) -> SpmdTrainer.Config:
    """Return the variant whose layers multiply in fp8, gradients with more range than the rest."""
    cfg.model.quantization.set(forward_dtype=jnp.float8_e4m3fn, backward_dtype=jnp.float8_e5m2)
    return cfg
