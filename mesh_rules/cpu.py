"""CPUs: everything runs in float32, and what is too large for a host becomes a smoke run."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from axl_exp.config import config_for_function
from axl_exp.mesh import (
    LimitFields,
    MeshRule,
    MeshShape,
    SetBatchPerDevice,
    SetFields,
    SetMeshShape,
)
from axl_exp.train.policy import never_policy

_ON_ANY_CPU = (
    SetMeshShape(MeshShape(fsdp=-1)),
    SetFields(
        {
            # CPUs emulate bfloat16: it would be slower, and less exact.
            "train_dtype": np.dtype(np.float32),
            # Sees all layers at once, so that XLA's CPU backend can fuse over them.
            "model.decoder.transformer.unroll": True,
        }
    ),
)

_SMOKE_RUN = (
    SetMeshShape(MeshShape(fsdp=-1)),
    SetFields(
        {
            "train_dtype": np.dtype(np.float32),
            # An evaluation or a checkpoint takes longer than the few steps, and as much memory.
            "evalers.*.eval_policy": config_for_function(never_policy),
            "checkpointer.save_policy": config_for_function(never_policy),
            "log_every_n_steps": 1,
        }
    ),
    SetBatchPerDevice(1),
    LimitFields({"input.max_sequence_length": 128, "max_step": 3}),
)

# Parameters, gradients and AdamW's second moment in float32 with the first in bfloat16 are 14 bytes
# per parameter: 16.2 GiB for fuji-1B's 1.24 billion.
_HALF_A_MOMENT = SetFields({"learner.optimizer.mu_dtype": np.dtype(ml_dtypes.bfloat16)})

_NOTE = (
    "Smoke run: a CPU cannot train this model, so this shows that it runs. One row of at most 128 "
    "tokens per device, 3 steps, no evaluations, no checkpoints."
)
# A config that has a size in its name is made for accelerators: `fuji-1B-v3`.
_SIZE = r"\d+(\.\d+)?[MB](-.*)?"

# No CPU has a flash attention kernel, and a variant that wants one would be refused.
_NO_KERNEL = SetFields({"model.decoder.transformer.layer.self_attention.attention.backend": "xla"})

RULES = (
    MeshRule(
        selector="cpu-.*",
        configs=f"fuji-{_SIZE}-flash",
        modifiers=(*_SMOKE_RUN, _HALF_A_MOMENT, _NO_KERNEL),
        golden_selectors=("cpu-1",),
        note=_NOTE,
    ),
    MeshRule(
        selector="cpu-.*",
        configs="fuji-test-.*-flash",
        modifiers=(*_ON_ANY_CPU, _NO_KERNEL),
        golden_selectors=("cpu-1",),
    ),
    MeshRule(
        selector="cpu-.*",
        configs=f"fuji-{_SIZE}",
        modifiers=(*_SMOKE_RUN, _HALF_A_MOMENT),
        golden_selectors=("cpu-1",),
        note=_NOTE,
    ),
    MeshRule(
        selector="cpu-.*",
        configs=f".+-{_SIZE}",
        modifiers=_SMOKE_RUN,
        golden_selectors=("cpu-1",),
        note=_NOTE,
    ),
    MeshRule(
        selector="cpu-.*", configs=".*", modifiers=_ON_ANY_CPU, golden_selectors=("cpu-1", "cpu-8")
    ),
)
