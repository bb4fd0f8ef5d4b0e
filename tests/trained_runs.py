"""Run directories with checkpoints, made without training."""

from __future__ import annotations

import functools
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import jax
import numpy as np
from flax import nnx

from axl_exp.config.text import config_text
from axl_exp.data.sentencepiece_model import train_vocabulary
from axl_exp.data.vocabulary import vocabulary_path
from axl_exp.registry import load_config
from axl_exp.run.layout import RunDir
from axl_exp.train.checkpointer import Checkpointer
from axl_exp.train.state import Params, PureModel, TrainState

VOCAB_SIZE = 640


def small_config() -> Any:
    """Return fuji-tiny cut down to 2 layers of dim 32, with a vocabulary of 640 tokens."""
    cfg: Any = load_config("fuji-tiny").config
    cfg.model.decoder.set(dim=32, vocab_size=VOCAB_SIZE)
    cfg.model.decoder.transformer.num_layers = 2
    layer = cfg.model.decoder.transformer.layer
    layer.feed_forward.hidden_dim = 48
    attention = layer.self_attention.attention.set(num_heads=4)
    attention.input_linear.input_linear.num_kv_heads = 2
    cfg.input.vocabulary.model_name = "small.model"
    return cfg


@functools.cache
def _vocabulary() -> bytes:
    return train_vocabulary(list(topics.values())[:40], size=VOCAB_SIZE)


def make_run(path: Path, cfg: Any, *, steps: tuple[int, ...] = (3,)) -> Params:
    """Make `path` a run of `cfg` with checkpoints; return the parameters of the last.

    With an EMA, the running means are the parameters plus one.
    """
    run_dir = RunDir(path).make()
    run_dir.config.write_text(config_text(cfg))
    vocabulary = Path(vocabulary_path(run_dir.data, cfg.input.vocabulary.model_name))
    vocabulary.parent.mkdir(parents=True)
    vocabulary.write_bytes(_vocabulary())
    model = PureModel(cfg.model)
    learner = cfg.learner.instantiate(logical_axes=model.logical_axes)
    checkpointer = Checkpointer.default_config().instantiate(directory=run_dir.checkpoints)
    params: Params = {}
    for step in steps:
        params = drawn_params(model, seed=step)
        opt_state = learner.init(params)
        if cfg.learner.ema.decay is not None:
            means = jax.tree.map(lambda p: p + 1, params)
            opt_state = opt_state._replace(ema=opt_state.ema._replace(ema=means))
        state = TrainState(np.int32(step), params, opt_state)
        checkpointer.save(step, state=state, data_state={})
    checkpointer.close()
    return params


def drawn_params(model: PureModel, *, seed: int) -> Params:
    """Return parameters of about the size of real ones; norms are off 1."""
    rng = np.random.default_rng(seed)
    flat = {}
    for path, shape in model.param_shapes.items():
        noise = rng.standard_normal(shape)
        flat[path] = 1 + 0.2 * noise if path.endswith("scale") else 0.3 * noise
    flat = {path: param.astype(np.float32) for path, param in flat.items()}
    return nnx.traversals.unflatten_mapping(flat, sep="/")
