"""Our side of the cases: the model of a config.json with the weights of the case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from axl_exp.hugging_face import llama_tensors, model_config, params_of_tensors
from axl_exp.model import CausalLM
from axl_exp.model.rotary import PairLayout
from axl_exp.train.state import Params, PureModel
from tests.hugging_face import llama_cases


class MemoryReader:
    """Tensors of a dict, read as those of files are."""

    directory = Path("memory")

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self.names = frozenset(tensors)
        self._tensors = tensors

    def read(self, name: str) -> np.ndarray:
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape


def case_config(case: dict[str, Any], *, pairs: PairLayout) -> CausalLM.Config:
    """Return our config of a case; `pairs` is free, since the weights follow it."""
    cfg: Any = model_config(case)
    attention = cfg.decoder.transformer.layer.self_attention.attention
    attention.input_linear.rope_pos_emb_layer.layout = pairs
    return cfg


def case_params(cfg: CausalLM.Config, tensors: Mapping[str, np.ndarray]) -> Params:
    """Return our parameters of their tensors."""
    template = nnx.traversals.flatten_mapping(PureModel(cfg).abstract_params, sep="/")
    shapes = {path: leaf.shape for path, leaf in template.items()}
    reader: Any = MemoryReader(tensors)
    flat = {
        path: jnp.asarray(param) for path, param in params_of_tensors(reader, cfg, shapes=shapes)
    }
    return nnx.traversals.unflatten_mapping(flat, sep="/")


def their_tensors(cfg: CausalLM.Config, params: Params) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, tensor) as the files have them, of parameters or of gradients."""
    flat = nnx.traversals.flatten_mapping(jax.tree.map(np.asarray, params), sep="/")
    for tensor in llama_tensors(cfg):
        yield tensor.name, tensor.to_theirs(flat[tensor.path][tensor.index])


def case_batch(case: dict[str, Any]) -> dict[str, jax.Array]:
    """Return the batch of a case: every target counts."""
    tokens = jnp.asarray(llama_cases.tokens(case), jnp.int32)
    ones = jnp.ones_like(tokens[:, 1:])
    return {
        "inputs": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "positions": jnp.broadcast_to(jnp.arange(ones.shape[1]), ones.shape),
        "segment_ids": ones,
    }
