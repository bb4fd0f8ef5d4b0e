"""TPU v6e: 32 GiB per chip."""

from __future__ import annotations

from axl_exp.mesh import LimitTokensPerDevice, MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.compiler_options import (
    ASYNC_GATHER,
    DATA_PARALLEL,
    HOST_OFFLOAD,
    LARGE_BLOCKS,
    SCATTER_LAYOUT,
    tell_compiler,
)
from mesh_rules.general import Fit, general_rules
from mesh_rules.single_host import single_host_rule
from mesh_rules.sizes import ALIBI_1B, ALIBI_7B, B1, B3, B7, B7_SINGLE_HOST, B70, B405, TINY
from mesh_rules.variants import VARIANT

_MESH = SetMeshShape(MeshShape(data=-1, fsdp=256))
# MaxText's benchmarks/maxtext_trillium_model_configs.py: all of its dense models have the first
# two groups, those that offload (Llama 3.1 8B, 70B) the others too.
_OPTIONS = tell_compiler(LARGE_BLOCKS, ASYNC_GATHER)
_OPTIONS_WITH_OFFLOAD = tell_compiler(
    LARGE_BLOCKS, ASYNC_GATHER, SCATTER_LAYOUT, DATA_PARALLEL, HOST_OFFLOAD
)


def _offload(names: str) -> SetFields:
    """What has one of these names waits on the host; nothing else of a layer is kept."""
    remat = "model.decoder.transformer.layer.remat_spec"
    return SetFields({f"{remat}.save": "", f"{remat}.offload": names})


RULES = (
    # Published.
    MeshRule(
        selector="tpu-v6e-256-(2|4|8)",
        configs=f"fuji-7B-v[123]{VARIANT}",
        modifiers=(_MESH, _offload("[qkvo]_proj|context"), _OPTIONS_WITH_OFFLOAD),
        golden_selectors=("tpu-v6e-256-4",),
    ),
    # Published, as a step time of 19.5 s with version 2.
    MeshRule(
        selector="tpu-v6e-256",
        configs="fuji-70B-.*",
        modifiers=(
            _MESH,
            _offload("[qkvo]_proj|context"),
            LimitTokensPerDevice(4096),
            _OPTIONS_WITH_OFFLOAD,
        ),
        golden_selectors=("tpu-v6e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v6e-256-(2|4|8)",
        configs="fuji-70B-.*",
        modifiers=(_MESH, _offload("[qkv]_proj|input"), _OPTIONS_WITH_OFFLOAD),
        golden_selectors=("tpu-v6e-256-4",),
    ),
    *general_rules(
        "tpu-v6e",
        (1, 4, 8, 16, 32, 64, 128, 256),
        (
            Fit(configs=ALIBI_1B, smallest=1, keeps_products=False, max_tokens=4096),
            Fit(
                configs=ALIBI_7B,
                smallest=8,
                largest=8,
                model=4,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=ALIBI_7B, smallest=16, keeps_products=False, max_tokens=4096),
            Fit(configs=TINY, smallest=1, max_tokens=16384),
            Fit(configs=B1, smallest=1, largest=1, keeps_products=False),
            Fit(configs=B1, smallest=4),
            Fit(configs=B3, smallest=4, keeps_products=False),
            Fit(configs=B7, smallest=4, largest=4, keeps_products=False, optimizer_on_host=True),
            Fit(configs=B7, smallest=8, keeps_products=False),
            Fit(
                configs=B7_SINGLE_HOST,
                smallest=4,
                largest=4,
                keeps_products=False,
                optimizer_on_host=True,
            ),
            Fit(configs=B7_SINGLE_HOST, smallest=8, largest=16, keeps_products=False),
            Fit(configs=B70, smallest=64, largest=64, model=4, keeps_products=False),
            Fit(configs=B70, smallest=128, largest=128, keeps_products=False),
            Fit(configs=B405, smallest=256, smallest_slices=2, model=8, keeps_products=False),
        ),
        max_slices=8,
        others=(_OPTIONS,),
    ),
    single_host_rule("tpu-v6e-[148]", _OPTIONS),
)
