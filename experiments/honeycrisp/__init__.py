"""The honeycrisp family: QK-norm, muP and adastar, which skips steps whose gradients are odd."""

from __future__ import annotations

import functools
from collections.abc import Callable

from axl_exp.train.trainer import SpmdTrainer
from experiments.honeycrisp.recipe import honeycrisp
from experiments.honeycrisp.sizes import SIZES

__all__ = ["named_trainer_configs"]


def named_trainer_configs() -> dict[str, Callable[[], SpmdTrainer.Config]]:
    """Return the functions that make each config, by name."""
    return {f"honeycrisp-{name}": functools.partial(honeycrisp, name) for name in SIZES}
