"""Learners, optimizers and schedules, on optax."""

from axl_exp.optim.adamw import LearningRateState, adamw, scale_by_learning_rate
from axl_exp.optim.clipping import clip_by_global_norm
from axl_exp.optim.learner import Learner, LearnerOutput
from axl_exp.optim.schedule import Schedule, constant, cosine_with_linear_warmup, linear

__all__ = [
    "Learner",
    "LearnerOutput",
    "LearningRateState",
    "Schedule",
    "adamw",
    "clip_by_global_norm",
    "constant",
    "cosine_with_linear_warmup",
    "linear",
    "scale_by_learning_rate",
]
