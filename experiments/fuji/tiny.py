"""fuji-tiny: a fuji that learns real text in about two minutes on two CPU cores.

8192 tokens, 4 layers of dim 256, trained on the text that ships with Python: nothing to download.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from axl_exp.data import EMBEDDED_VOCABULARY_SIZE, use_embedded_corpus
from axl_exp.mesh import MeshShape
from axl_exp.train.trainer import SpmdTrainer
from experiments.fuji.recipe import trainer_config
from experiments.fuji.sizes import VERSIONS, Size

_MAX_STEP = 150


def fuji_tiny() -> SpmdTrainer.Config:
    """Return the config of `fuji-tiny`."""
    size = Size(
        num_layers=4,
        dim=256,
        num_heads=8,
        num_kv_heads=4,
        ffn_dim=768,
        peak_lr=3e-3,
        versions=("v2",),
        tied_head=True,
    )
    version = dataclasses.replace(
        VERSIONS["v2"], vocab_size=EMBEDDED_VOCABULARY_SIZE, max_sequence_length=128
    )
    cfg = trainer_config(
        size=size,
        num_kv_heads=size.num_kv_heads,
        version=version,
        max_step=_MAX_STEP,
        global_batch_size=16,
        weight_decay=0.1,
        eval_every_n_steps=50,
        save_every_n_steps=50,
    )
    cfg.input = use_embedded_corpus(cfg.input)
    validation: Any = cfg.evalers["validation"]
    validation.input = use_embedded_corpus(validation.input).set(num_batches=8)
    cfg.evalers = {"validation": validation}
    cfg.learner.optimizer.update_schedule.warmup_steps = 20
    cfg.model.decoder.transformer.layer.remat_spec = None  # Its activations fit anywhere.
    cfg.summary_writer.write_every_n_steps = 10
    return cfg.set(mesh_shape=MeshShape(data=-1))
