"""The fuji family: LLaMA-like decoders of 1B to 405B parameters, a tiny and a test one."""

from __future__ import annotations

import functools
from collections.abc import Callable

from axl_exp.train.trainer import SpmdTrainer
from experiments.fuji.recipe import fuji, fuji_single_host, fuji_test, with_flash, with_fp8
from experiments.fuji.sizes import SIZES
from experiments.fuji.tiny import fuji_tiny

__all__ = ["config_aliases", "named_trainer_configs"]


_Make = Callable[[], SpmdTrainer.Config]
_VARIANTS: dict[str, Callable[[SpmdTrainer.Config], SpmdTrainer.Config]] = {
    "flash": with_flash,
    "fp8": with_fp8,
}


def named_trainer_configs() -> dict[str, _Make]:
    """Return the functions that make each config, by name."""
    configs: dict[str, _Make] = {
        f"fuji-test-{version}": functools.partial(fuji_test, version) for version in ("v1", "v3")
    }
    for name, size in SIZES.items():
        for version in size.versions:
            configs[f"fuji-{name}-{version}"] = functools.partial(fuji, name, version)
    variants = {
        f"{name}-{suffix}": functools.partial(_variant, change, make)
        for name, make in configs.items()
        for suffix, change in _VARIANTS.items()
    }
    single_hosts = {
        f"fuji-{name}-{version}-single-host": functools.partial(fuji_single_host, name, version)
        for name, size in SIZES.items()
        if size.single_host
        for version in size.versions
    }
    return {"fuji-tiny": fuji_tiny, **configs, **single_hosts, **variants}


def _variant(
    change: Callable[[SpmdTrainer.Config], SpmdTrainer.Config], make: _Make
) -> SpmdTrainer.Config:
    return change(make())


def config_aliases() -> dict[str, str]:
    """Return what a bare size means: its version 3, with the sentencepiece vocabulary if it can."""
    # What tells these versions apart is what the test configs have in common.
    aliases = {
        "fuji-test": "fuji-test-v3",
        "fuji-test-v2": "fuji-test-v1",
        "fuji-test-v3-tiktoken": "fuji-test-v3",
    }
    for name, size in SIZES.items():
        version = "v3" if "v3" in size.versions else "v3-tiktoken"
        aliases[f"fuji-{name}"] = f"fuji-{name}-{version}"
    return aliases
