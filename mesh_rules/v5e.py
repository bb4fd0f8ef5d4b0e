"""TPU v5e: 16 GiB per chip."""

from __future__ import annotations

from axl_exp.mesh import MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.single_host import single_host_rule

RULES = (
    # Published: four slices, one sequence per chip, every product kept for the backward pass. With
    # fewer slices, and for 70B, the published rules offload.
    MeshRule(
        selector="tpu-v5e-256-4",
        configs="fuji-(7B|8B)-v[^-]+(-tiktoken)?",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            SetFields({"model.decoder.transformer.layer.remat_spec.save": ".*"}),
        ),
        golden_selectors=("tpu-v5e-256-4",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=256)),),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published, as a step time of 0.67 s.
    MeshRule(
        selector="tpu-v5e-32",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("tpu-v5e-32",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-(85M|302M)",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-1B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=32)),),
        golden_selectors=("tpu-v5e-256",),
    ),
    single_host_rule("tpu-v5e-[148]"),
)
