"""TPU v6e: 32 GiB per chip."""

from __future__ import annotations

from axl_exp.mesh import MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.single_host import single_host_rule
from mesh_rules.variants import VARIANT

_MESH = SetMeshShape(MeshShape(data=-1, fsdp=256))


def _offload(names: str) -> SetFields:
    """What has one of these names waits on the host; nothing else of a layer is kept."""
    remat = "model.decoder.transformer.layer.remat_spec"
    return SetFields({f"{remat}.save": "", f"{remat}.offload": names})


RULES = (
    # Published.
    MeshRule(
        selector="tpu-v6e-256-(2|4|8)",
        configs=f"fuji-7B-v[123]{VARIANT}",
        modifiers=(_MESH, _offload("[qkvo]_proj|context")),
        golden_selectors=("tpu-v6e-256-4",),
    ),
    # Published, as a step time of 19.5 s with version 2.
    MeshRule(
        selector="tpu-v6e-256",
        configs="fuji-70B-.*",
        modifiers=(
            _MESH,
            _offload("[qkvo]_proj|context"),
            SetFields({"accumulation_steps": 4}),
        ),
        golden_selectors=("tpu-v6e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v6e-256-(2|4|8)",
        configs="fuji-70B-.*",
        modifiers=(_MESH, _offload("[qkv]_proj|input")),
        golden_selectors=("tpu-v6e-256-4",),
    ),
    single_host_rule("tpu-v6e-[148]"),
)
