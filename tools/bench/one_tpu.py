"""What the benches share that compile for one chip of each kind of TPU."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

HARDWARE = ("tpu-v4-8", "tpu-v5e-1", "tpu-v5p-8", "tpu-v6e-1")


def parse_flags(name: str, description: str | None, cases: Iterable[str]) -> argparse.Namespace:
    """Return the kinds of TPU as `mesh` and the `case`s to go through, all unless flags say so."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.bench.{name}", description=description)
    cases = tuple(cases)
    for flag, choices in (("--mesh", HARDWARE), ("--case", cases)):
        parser.add_argument(flag, action="append", choices=choices, help="only this; repeat")
    flags = parser.parse_args()
    flags.mesh, flags.case = flags.mesh or HARDWARE, flags.case or cases
    return flags


def array_on(device: Any, *shape: int, dtype: Any = jnp.bfloat16) -> Any:
    """Return what stands for an array on `device`, which is only compiled for."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
