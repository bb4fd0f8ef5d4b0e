"""TPU v5p: 95 GiB per chip. The number in a selector counts TensorCores, two per chip."""

from __future__ import annotations

from axl_exp.mesh import MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.single_host import single_host_rule
from mesh_rules.variants import VARIANT

RULES = (
    single_host_rule("tpu-v5p-8"),
    # Published: every product is kept for the backward pass.
    MeshRule(
        selector="tpu-v5p-.*",
        configs=f"fuji-7B-v[123]{VARIANT}",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=64)),
            SetFields({"model.decoder.transformer.layer.remat_spec.save": ".*"}),
        ),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-.*",
        configs=f"fuji-8B-v3-tiktoken{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published: the products that attention reads are kept; a layer's input waits on the host.
    MeshRule(
        selector="tpu-v5p-.*",
        configs="fuji-70B-.*",
        modifiers=(
            SetMeshShape(MeshShape(fsdp=-1)),
            SetFields(
                {
                    "model.decoder.transformer.layer.remat_spec.save": "[qkv]_proj",
                    "model.decoder.transformer.layer.remat_spec.offload": "input",
                }
            ),
        ),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Not published. One sequence of 8192 per chip: three float32 matrices of logits are 13 GB, what
    # the layers keep 2 GB for 1B and 7 GB for 3B, parameters, moments and gradients over 8 chips
    # 2.5 and 6.4 GB.
    MeshRule(
        selector="tpu-v5p-4096",
        configs=f"fuji-(1B|3B)-v3(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("tpu-v5p-4096",),
    ),
    # Published: a replica of the parameters on every chip.
    MeshRule(
        selector="tpu-v5p-(1024|2048|4096)",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-(16|32)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("tpu-v5p-16",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-(1024|2048)",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)),),
        golden_selectors=("tpu-v5p-1024",),
    ),
)
