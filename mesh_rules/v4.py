"""TPU v4: 32 GiB per chip. The number in a selector counts TensorCores, two per chip."""

from __future__ import annotations

from axl_exp.mesh import MeshRule, MeshShape, SetMeshShape
from mesh_rules.single_host import single_host_rule
from mesh_rules.variants import VARIANT

RULES = (
    # Published.
    MeshRule(
        selector="tpu-v4-(1024|2048)",
        configs=f"fuji-(7B|8B)-v[^-]+(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)),),
        golden_selectors=("tpu-v4-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-256",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(fsdp=-1)),),
        golden_selectors=("tpu-v4-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-(32|64)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("tpu-v4-32",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-(1024|2048)",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)),),
        golden_selectors=("tpu-v4-1024",),
    ),
    single_host_rule("tpu-v4-8"),
)
