"""The gala family: baselines with QK-norm and muP, the larger also with hybrid norm and ALiBi."""

from __future__ import annotations

import functools
from collections.abc import Callable

from axl_exp.train.trainer import SpmdTrainer
from experiments.gala.recipe import gala, gala_hybridnorm_alibi
from experiments.gala.sizes import SIZES

__all__ = ["named_trainer_configs"]


def named_trainer_configs() -> dict[str, Callable[[], SpmdTrainer.Config]]:
    """Return the functions that make each config, by name."""
    configs = {f"gala-{name}": functools.partial(gala, name) for name in SIZES}
    for name, size in SIZES.items():
        if size.hybridnorm_alibi:
            configs[f"gala-{name}-hybridnorm-alibi"] = functools.partial(
                gala_hybridnorm_alibi, name
            )
    return configs
