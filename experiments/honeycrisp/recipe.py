"""The honeycrisp recipe: a decoder with normed queries and keys, trained with adastar."""

from __future__ import annotations

import jax.numpy as jnp

from axl_exp.config import config_for_function
from axl_exp.model import CausalLM, RematSpec, RMSNorm
from axl_exp.optim import (
    Learner,
    adastar_optimizer,
    cosine_with_linear_warmup,
    skip_and_clip_by_global_norm,
)
from axl_exp.train.policy import every_n_steps_and_last_policy
from axl_exp.train.trainer import SpmdTrainer
from experiments.honeycrisp.sizes import SIZES, Size
from experiments.mup import mup_simple
from experiments.pajama import openwebtext_evaler, text_source, training_input

_VOCAB_SIZE = 48 * 1024
_VOCABULARY = "bpe_48k_honeycrisp.model"
_MAX_SEQUENCE_LENGTH = 4096


def model_config(size: Size) -> CausalLM.Config:
    """Return the decoder: SwiGLU, rotary positions, grouped heads, a norm on queries and keys.

    Each layer tells its share of dead neurons and the size of what its feed-forward half adds. The
    backward pass keeps the attention's products and computes the rest of a layer again.
    """
    cfg = CausalLM.default_config().set(z_loss_scale=1e-6)
    decoder = cfg.decoder.set(vocab_size=_VOCAB_SIZE, dim=size.dim)
    decoder.transformer.num_layers = size.num_layers
    layer = decoder.transformer.layer
    layer.remat_spec = RematSpec(save="[qkvo]_proj|context")
    layer.feed_forward.set(
        hidden_dim=size.ffn_dim,
        add_dead_neuron_summary=True,
        add_value_rms_norm_summary=("linear2_outputs",),
    )
    attention = layer.self_attention.attention.set(num_heads=size.num_heads)
    attention.query_scale.norm = RMSNorm.default_config()
    attention.key_scale.norm = RMSNorm.default_config()
    attention.input_linear.input_linear.num_kv_heads = size.num_kv_heads
    attention.input_linear.rope_pos_emb_layer.theta = 5e5
    return cfg


def learner_config(size: Size) -> Learner.Config:
    """Return adastar; a step whose gradient is longer than 100 is skipped, one above 1 clipped.

    Gradients are not averaged, but updates are, without debiasing; the rate falls to 1/200.
    """
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=size.max_step, warmup_steps=5000, begin_value=0.0, alpha=0.005
    )
    adastar = config_for_function(adastar_optimizer).set(
        learning_rate=1e-2,
        gradient_ema_decay=None,
        gradient_ema_debias=None,
        gradient_square_ema_decay=0.95,
        gradient_square_ema_debias=True,
        eps=0.0,
        eps_square=1e-30,
        raw_update_clipping_threshold=1.0,
        update_ema_decay=0.95,
        update_ema_debias=False,
        adam_update_transformation=mup_simple(size.dim),
        weight_decay=3.16e-4,
        update_schedule=schedule,
    )
    optimizer = config_for_function(skip_and_clip_by_global_norm).set(
        inner=adastar, drop_norm=100.0, max_norm=1.0, eps=1e-8
    )
    return Learner.default_config().set(optimizer=optimizer)


def honeycrisp(size_name: str) -> SpmdTrainer.Config:
    """Return one of the published models, such as `honeycrisp("3B")`.

    AXLearn's training set is tokenized beforehand and is read in its order, without a version; ours
    is the text of version 1.0.0, read in its order too.
    """
    size = SIZES[size_name]
    source = text_source("pajama_honeycrisp_15t_202408072230:1.0.0", split="train")
    batches = {
        "vocabulary": _VOCABULARY,
        "max_sequence_length": _MAX_SEQUENCE_LENGTH,
        "global_batch_size": size.global_batch_size,
    }
    cfg = SpmdTrainer.default_config().set(
        model=model_config(size),
        learner=learner_config(size),
        input=training_input(source, **batches).set(shuffle=False),
        evalers={"openwebtext_2": openwebtext_evaler(**batches, every_n_steps=25_000)},
        mesh_shape=size.mesh_shape,
        max_step=size.max_step,
        train_dtype=jnp.bfloat16,
    )
    save_policy = config_for_function(every_n_steps_and_last_policy).set(n=size.save_every_n_steps)
    cfg.checkpointer.set(save_policy=save_policy, keep_last_n=3, keep_every_n_steps=5000)
    return cfg
