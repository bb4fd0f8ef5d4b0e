"""What a search tries: mesh shapes, what layers keep, and parts of a batch; and rules of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from axl_exp.mesh import (
    HardwareSelector,
    HybridMeshShape,
    LimitTokensPerDevice,
    MeshModifier,
    MeshRule,
    MeshShape,
    SetFields,
    SetMeshShape,
    num_batch_shards,
)

_REMAT = "model.decoder.transformer.layer.remat_spec"
SEARCHED = ("mesh_shape", _REMAT, "accumulation_steps")
"""The fields that a search sets."""
# A sum over `model` stands twice in each layer's way: beyond a ring of the torus, or a node, no
# published rule has one.
_MAX_MODEL = 16


@dataclasses.dataclass(frozen=True)
class Remat:
    """What the layers keep of the forward pass, by names of `axl_exp.model.remat`."""

    name: str
    save: str = ""
    offload: str = ""


_PRODUCTS = ".*_proj|context|linear.*"
REMATS = (
    Remat("everything kept", save=".*"),
    Remat("products kept", save=_PRODUCTS),
    Remat("attention's products kept", save="[qkvo]_proj|context"),
    Remat("inputs kept alone"),
    Remat("products offloaded", offload=_PRODUCTS),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """One of each."""

    mesh: MeshShape | HybridMeshShape
    remat: Remat | None
    """None for a model whose layers have no remat_spec."""
    accumulation_steps: int

    def rule(
        self, *, selector: str, config: str, others: tuple[MeshModifier, ...] = ()
    ) -> MeshRule:
        """Return the mesh rule that makes a config run so.

        Args:
            selector: The hardware.
            config: The config's name.
            others: What the rule does besides: applied before.
        """
        fields: dict[str, Any] = {"accumulation_steps": self.accumulation_steps}
        if self.remat is not None:
            values = {"save": self.remat.save, "offload": self.remat.offload}
            fields = {**{f"{_REMAT}.{key}": value for key, value in values.items()}, **fields}
        return MeshRule(
            selector=selector.replace(".", r"\."),
            configs=config.replace(".", r"\."),
            modifiers=(*others, SetMeshShape(self.mesh), SetFields(fields)),
            golden_selectors=(selector,),
        )


def settings_of(cfg: Any) -> Settings:
    """Return what a resolved trainer config runs with."""
    spec = cfg.model.decoder.transformer.layer.remat_spec
    remat = None
    if spec is not None:
        known = (r for r in REMATS if (r.save, r.offload) == (spec.save, spec.offload))
        told = f"save={spec.save!r}, offload={spec.offload!r}"
        remat = next(known, Remat(told, spec.save, spec.offload))
    return Settings(cfg.mesh_shape, remat, cfg.accumulation_steps)


def other_modifiers(rule: MeshRule | None) -> tuple[MeshModifier, ...]:
    """Return what a rule does beside what a search sets."""
    kept: list[MeshModifier] = []
    for modifier in rule.modifiers if rule else ():
        if isinstance(modifier, SetFields):
            values = {p: v for p, v in modifier.values.items() if not is_searched(p)}
            kept += [SetFields(values)] if values else []
        elif not isinstance(modifier, (SetMeshShape, LimitTokensPerDevice)):
            kept.append(modifier)
    return tuple(kept)


def is_searched(path: str) -> bool:
    """Return whether a search sets the field at `path`."""
    return any(re.match(rf"{re.escape(name)}(\W|$)", path) for name in SEARCHED)


def meshes(
    hardware: HardwareSelector, *, rows: int, num_heads: int
) -> Iterator[MeshShape | HybridMeshShape]:
    """Yield the mesh shapes whose axes divide devices, heads and rows.

    A slice or node is split along data, fsdp, seq and model; slices are replicas, or shards of the
    parameters. The sequence is split only where there are fewer rows than devices to have one.

    Args:
        hardware: Its devices and slices.
        rows: Of a batch.
        num_heads: Of the attention.
    """
    num_slices = hardware.num_slices
    per_slice = hardware.num_devices // num_slices
    most = (
        hardware.chip.node_devices if hardware.platform == "gpu" and hardware.chip else _MAX_MODEL
    )
    for model in _divisors(per_slice):
        if model > most or num_heads % model:
            continue
        for seq in _divisors(per_slice // model):
            if seq > 1 and hardware.num_devices // (model * seq // 2) <= rows:
                continue
            for fsdp in _divisors(per_slice // model // seq):
                data = per_slice // model // seq // fsdp
                shape = MeshShape(data=data, fsdp=fsdp, seq=seq, model=model)
                shapes: list[MeshShape | HybridMeshShape] = [shape.clone(data=data * num_slices)]
                if num_slices > 1 and data == 1:
                    shapes.append(HybridMeshShape(ici=shape, dcn=MeshShape(fsdp=num_slices)))
                yield from (s for s in shapes if rows % num_batch_shards(s) == 0)


def accumulations(mesh: MeshShape | HybridMeshShape, *, rows: int) -> list[int]:
    """Return in how many parts a batch can be taken, ascending: those that divide every share."""
    return _divisors(rows // num_batch_shards(mesh))


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
