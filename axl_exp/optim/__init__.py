"""Learners, optimizers and schedules, on optax."""

from axl_exp.optim.adafactor import adafactor
from axl_exp.optim.adamw import adamw
from axl_exp.optim.adastar import adastar_optimizer
from axl_exp.optim.clipping import clip_by_block_rms, clip_by_global_norm
from axl_exp.optim.context import LogicalAxes, add_summary, learner_context
from axl_exp.optim.descent import descend
from axl_exp.optim.drop_norm import (
    DropNorm,
    drop_norm_by_grad_norm_ema,
    drop_norm_by_grad_norm_stddev,
)
from axl_exp.optim.ema import param_ema
from axl_exp.optim.learner import Learner, LearnerOutput, LearnerState
from axl_exp.optim.lion import lion
from axl_exp.optim.loss_scale import LossScaler, dynamic_loss_scaler
from axl_exp.optim.muon import muon
from axl_exp.optim.per_param import (
    PerParamScale,
    map_per_layer,
    per_param_scale_by_path,
    scale_update_per_param,
)
from axl_exp.optim.schedule import (
    Schedule,
    as_schedule,
    constant,
    cosine_with_linear_warmup,
    decay_bias_correction,
    linear,
    warmup_stable_decay,
)
from axl_exp.optim.sgd import sgd
from axl_exp.optim.skip import skip_and_clip_by_global_norm
from axl_exp.optim.state_layout import like_params

__all__ = [
    "DropNorm",
    "Learner",
    "LearnerOutput",
    "LearnerState",
    "LogicalAxes",
    "LossScaler",
    "PerParamScale",
    "Schedule",
    "adafactor",
    "adamw",
    "adastar_optimizer",
    "add_summary",
    "as_schedule",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "constant",
    "cosine_with_linear_warmup",
    "decay_bias_correction",
    "descend",
    "dynamic_loss_scaler",
    "drop_norm_by_grad_norm_ema",
    "drop_norm_by_grad_norm_stddev",
    "learner_context",
    "like_params",
    "linear",
    "lion",
    "map_per_layer",
    "muon",
    "param_ema",
    "per_param_scale_by_path",
    "scale_update_per_param",
    "sgd",
    "skip_and_clip_by_global_norm",
    "warmup_stable_decay",
]
