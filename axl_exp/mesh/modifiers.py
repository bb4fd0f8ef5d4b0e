"""The changes that mesh rules are made of: pure, config in, changed copy out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from axl_exp.config import ConfigBase
from axl_exp.mesh.selector import HardwareSelector
from axl_exp.mesh.shape import AnyMeshShape

C = TypeVar("C", bound=ConfigBase)


@dataclasses.dataclass(frozen=True)
class SetMeshShape:
    """Lay the devices out as `shape`; its -1 is inferred when the config is resolved."""

    shape: AnyMeshShape

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        return cfg.clone(mesh_shape=self.shape)


@dataclasses.dataclass(frozen=True)
class SetFields:
    """Set every field at its dotted path: `SetFields({"input.global_batch_size": 8})`."""

    values: Mapping[str, Any]

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        cfg = cfg.clone()
        for path, value in self.values.items():
            cfg.set_recursively(path.split("."), value=value)
        return cfg


@dataclasses.dataclass(frozen=True)
class LimitFields:
    """Lower every number that is above its limit: `LimitFields({"max_step": 3})`."""

    limits: Mapping[str, int]

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        cfg = cfg.clone()
        for path, limit in self.limits.items():
            keys = path.split(".")
            if cfg.get_recursively(keys) > limit:
                cfg.set_recursively(keys, value=limit)
        return cfg


@dataclasses.dataclass(frozen=True)
class SetBatchPerDevice:
    """Make the global batch `num_examples` examples for each device of the hardware."""

    num_examples: int

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        cfg = cfg.clone()
        batch_size = self.num_examples * hardware.num_devices
        cfg.set_recursively(["input", "global_batch_size"], value=batch_size)
        return cfg
