"""What `tools.bench train` trains: two models for a CPU, two for a GPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np

from axl_exp.config import config_for_function
from axl_exp.data import use_embedded_corpus
from axl_exp.model import LmHead
from axl_exp.resolve import resolve
from axl_exp.train.devices import select_devices
from axl_exp.train.policy import never_policy


@dataclasses.dataclass(frozen=True)
class Case:
    """A config and what is changed in it, by path."""

    config: str
    changes: dict[str, Any]


def _llama(*, num_layers: int, dim: int, num_heads: int, batch: int) -> dict[str, Any]:
    layer = "model.decoder.transformer.layer"
    attention = f"{layer}.self_attention.attention"
    return {
        "model.decoder.dim": dim,
        "model.decoder.lm_head": LmHead.default_config(),
        "model.decoder.transformer.num_layers": num_layers,
        f"{layer}.feed_forward.hidden_dim": 4 * dim,
        f"{attention}.num_heads": num_heads,
        f"{attention}.input_linear.input_linear.num_kv_heads": num_heads // 2,
        "input.global_batch_size": batch,
        "input.max_sequence_length": 512,
    }


def _on_one_gpu(*, batch: int) -> dict[str, Any]:
    return {
        "input.max_sequence_length": 4096,
        "input.global_batch_size": batch,
        # With it, 8 billion parameters and what trains them fit into 141 GB.
        "learner.optimizer.mu_dtype": np.dtype(ml_dtypes.bfloat16),
    }


CASES = {
    # What a first run trains: 5.3 million parameters, 2048 tokens per step.
    "first": Case("fuji-tiny", {}),
    # 8.1 million parameters, 4096 tokens per step.
    "tiny": Case("fuji-tiny", _llama(num_layers=4, dim=256, num_heads=8, batch=8)),
    # 39.9 million parameters, 2048 tokens per step.
    "small": Case("fuji-tiny", _llama(num_layers=8, dim=512, num_heads=8, batch=4)),
    "1B": Case("fuji-1B-v3", _on_one_gpu(batch=4)),
    "8B": Case("fuji-8B-v3-tiktoken", _on_one_gpu(batch=1)),
}


def make_trainer(case: Case, *, max_step: int) -> Any:
    """Return the trainer of `case` on this machine's devices, on text that needs no download.

    It makes no evaluations and no checkpoints.
    """

    def adapt(cfg: Any) -> Any:
        cfg = cfg.clone(max_step=max_step, evalers={})
        cfg.checkpointer.save_policy = config_for_function(never_policy)
        cfg.input = use_embedded_corpus(cfg.input)
        for path, value in case.changes.items():
            cfg.set_recursively(path.split("."), value=value)
        return cfg

    resolved = resolve(case.config, selector=select_devices("auto"), adapt=adapt)
    return resolved.config.instantiate()  # pyright: ignore
