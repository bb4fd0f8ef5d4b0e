"""The gala recipe: a decoder with normed queries and keys, trained with AdamW and muP."""

from __future__ import annotations

import jax.numpy as jnp

from axl_exp.config import config_for_function
from axl_exp.mesh import MeshShape
from axl_exp.model import ALiBi, CausalLM, FusedGroupedQKVLinear, RematSpec, RMSNorm
from axl_exp.optim import (
    Learner,
    adastar_optimizer,
    clip_by_global_norm,
    cosine_with_linear_warmup,
)
from axl_exp.train.policy import every_n_steps_and_last_policy
from axl_exp.train.trainer import SpmdTrainer
from experiments.gala.sizes import SIZES, Size
from experiments.mup import mup_simple
from experiments.pajama import openwebtext_evaler, slim_pajama, training_input

_VOCAB_SIZE = 32 * 1024
_VOCABULARY = "bpe_32k_c4.model"
_MAX_SEQUENCE_LENGTH = 4096


def model_config(size: Size) -> CausalLM.Config:
    """Return the decoder: SwiGLU, rotary positions, a norm on queries and keys.

    The backward pass keeps the attention's products and computes the rest of a layer again.
    """
    cfg = CausalLM.default_config()
    decoder = cfg.decoder.set(vocab_size=_VOCAB_SIZE, dim=size.dim)
    decoder.transformer.num_layers = size.num_layers
    layer = decoder.transformer.layer
    layer.remat_spec = RematSpec(save="[qkvo]_proj|context")
    layer.feed_forward.hidden_dim = size.ffn_dim
    attention = layer.self_attention.attention.set(num_heads=size.num_heads)
    attention.query_scale.norm = RMSNorm.default_config()
    attention.key_scale.norm = RMSNorm.default_config()
    attention.input_linear.input_linear.num_kv_heads = size.num_heads
    return cfg


def learner_config(size: Size) -> Learner.Config:
    """Return AdamW after a global clip at 1; the rate warms up, then falls to a tenth.

    AdamW is adastar without its other stages. Its decay is not multiplied with the rate, as in
    AXLearn, so that muP changes the updates alone.
    """
    schedule = config_for_function(cosine_with_linear_warmup).set(
        peak_lr=1.0, max_step=size.max_step, warmup_steps=5000, begin_value=0.0, alpha=0.1
    )
    adam = config_for_function(adastar_optimizer).set(
        learning_rate=1e-2,
        gradient_ema_decay=0.9,
        gradient_ema_debias=True,
        gradient_square_ema_decay=0.95,
        gradient_square_ema_debias=True,
        eps=1e-8,
        eps_square=0.0,
        raw_update_clipping_threshold=None,
        update_ema_decay=None,
        update_ema_debias=None,
        adam_update_transformation=mup_simple(size.dim),
        weight_decay=1e-4,
        update_schedule=schedule,
    )
    clip = config_for_function(clip_by_global_norm).set(max_norm=1.0, eps=1e-8)
    return Learner.default_config().set(optimizer=adam, gradient_clipping=clip)


def gala(size_name: str) -> SpmdTrainer.Config:
    """Return one of the baselines, such as `gala("7B")`."""
    size = SIZES[size_name]
    batches = {
        "vocabulary": _VOCABULARY,
        "max_sequence_length": _MAX_SEQUENCE_LENGTH,
        "global_batch_size": size.tokens_per_step // _MAX_SEQUENCE_LENGTH,
    }
    cfg = SpmdTrainer.default_config().set(
        model=model_config(size),
        learner=learner_config(size),
        input=training_input(slim_pajama(), **batches),
        evalers={"openwebtext_2": openwebtext_evaler(**batches, every_n_steps=5000)},
        mesh_shape=MeshShape(fsdp=-1),
        max_step=size.max_step,
        train_dtype=jnp.bfloat16,
    )
    save_policy = config_for_function(every_n_steps_and_last_policy).set(n=5000)
    cfg.checkpointer.set(save_policy=save_policy, keep_last_n=3, keep_every_n_steps=50_000)
    return cfg


def gala_hybridnorm_alibi(size_name: str) -> SpmdTrainer.Config:
    """Return the variant that norms both ends of every branch, with ALiBi instead of rotation.

    AXLearn has it for 1B with flash attention alone; and its muP passes over this variant's
    product of queries, keys and values, which has another path. Ours scales it as in every model.
    """
    cfg = gala(size_name)
    layer = cfg.model.decoder.transformer.layer
    layer.feed_forward.structure = "hybridnorm"
    layer.self_attention.structure = "hybridnorm"
    attention = layer.self_attention.attention
    attention.logit_bias = ALiBi.default_config()
    attention.input_linear = FusedGroupedQKVLinear.default_config().set(
        num_kv_heads=SIZES[size_name].num_heads
    )
    return cfg
