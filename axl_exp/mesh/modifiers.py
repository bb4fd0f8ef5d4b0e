"""The changes that mesh rules are made of: pure, config in, changed copy out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from axl_exp.config import ConfigBase
from axl_exp.mesh.selector import HardwareSelector
from axl_exp.mesh.shape import AnyMeshShape, axis_sizes, infer_mesh_shape, num_batch_shards

C = TypeVar("C", bound=ConfigBase)


@dataclasses.dataclass(frozen=True)
class SetMeshShape:
    """Lay the devices out as `shape`; its -1 is inferred when the config is resolved."""

    shape: AnyMeshShape

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        return cfg.clone(mesh_shape=self.shape)


@dataclasses.dataclass(frozen=True)
class SetFields:
    """Set every field at its dotted path: `SetFields({"input.global_batch_size": 8})`.

    A `*` stands for every key of a mapping: `evalers.*.eval_policy`.
    """

    values: Mapping[str, Any]

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        cfg = cfg.clone()
        for path, value in self.values.items():
            for keys in _expand(cfg, path):
                cfg.set_recursively(keys, value=value)
        return cfg


@dataclasses.dataclass(frozen=True)
class LimitFields:
    """Lower every number that is above its limit: `LimitFields({"max_step": 3})`.

    Paths are those of SetFields.
    """

    limits: Mapping[str, int]

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        cfg = cfg.clone()
        for path, limit in self.limits.items():
            for keys in _expand(cfg, path):
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


@dataclasses.dataclass(frozen=True)
class LimitTokensPerDevice:
    """Take the batch in the fewest parts of which no device has more than `max_tokens` tokens.

    A device has at least one sequence of a part, or its share of one. Comes after the mesh shape.
    """

    max_tokens: int

    def __call__(self, cfg: C, *, hardware: HardwareSelector) -> C:
        fields: Any = cfg
        shape = infer_mesh_shape(
            fields.mesh_shape, num_devices=hardware.num_devices, num_slices=hardware.num_slices
        )
        num_rows = fields.input.global_batch_size // num_batch_shards(shape)
        tokens_per_row = fields.input.max_sequence_length // axis_sizes(shape)["seq"]
        num_parts = next(
            n
            for n in range(1, max(num_rows, 1) + 1)
            if n >= num_rows
            or (num_rows % n == 0 and num_rows // n * tokens_per_row <= self.max_tokens)
        )
        return cfg.clone(accumulation_steps=num_parts)


def _expand(cfg: ConfigBase, path: str) -> list[list[str]]:
    """Return the keys of every path that `path` stands for."""
    paths: list[list[str]] = [[]]
    for key in path.split("."):
        keys_of = [list(cfg.get_recursively(p)) if key == "*" else [key] for p in paths]
        paths = [[*p, k] for p, keys in zip(paths, keys_of, strict=True) for k in keys]
    return paths
