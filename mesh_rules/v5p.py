"""TPU v5p: 95 GiB per chip. The number in a selector counts TensorCores, two per chip."""

from __future__ import annotations

from axl_exp.mesh import LimitTokensPerDevice, MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.compiler_options import (
    ASYNC_GATHER,
    BLOCKS_OF_V5P,
    DATA_PARALLEL,
    GATHER_ACROSS_LAYERS,
    tell_compiler,
)
from mesh_rules.general import Fit, general_rules
from mesh_rules.single_host import single_host_rule
from mesh_rules.sizes import ALIBI_1B, ALIBI_7B, B1, B3, B7, B7_SINGLE_HOST, B70, B405, TINY
from mesh_rules.variants import VARIANT

# MaxText's configs/v5p/llama2_70b.sh, and large blocks: by libtpu's estimates a 7B takes a fourth
# less time with them.
_OPTIONS = tell_compiler(ASYNC_GATHER, DATA_PARALLEL, GATHER_ACROSS_LAYERS, BLOCKS_OF_V5P)

RULES = (
    # Published: every product is kept for the backward pass.
    MeshRule(
        selector="tpu-v5p-(128|256|512|1024|2048|4096)",
        configs=f"fuji-7B-v[123]{VARIANT}",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=64)),
            SetFields({"model.decoder.transformer.layer.remat_spec.save": ".*"}),
            LimitTokensPerDevice(16384),
            _OPTIONS,
        ),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-(16|32|64|128|256|512|1024|2048|4096)",
        configs=f"fuji-8B-v3-tiktoken{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)), _OPTIONS),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published: the products that attention reads are kept; a layer's input waits on the host.
    MeshRule(
        selector="tpu-v5p-(128|256|512|1024|2048|4096)",
        configs=f"fuji-70B-v[123]{VARIANT}",
        modifiers=(
            SetMeshShape(MeshShape(fsdp=-1)),
            SetFields(
                {
                    "model.decoder.transformer.layer.remat_spec.save": "[qkv]_proj",
                    "model.decoder.transformer.layer.remat_spec.offload": "input",
                }
            ),
            _OPTIONS,
        ),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Not published. One sequence of 8192 per chip: three float32 matrices of logits are 13 GB, what
    # the layers keep 2 GB for 1B and 7 GB for 3B, parameters, moments and gradients over 8 chips
    # 2.5 and 6.4 GB.
    MeshRule(
        selector="tpu-v5p-4096",
        configs=f"fuji-(1B|3B)-v3(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)), _OPTIONS),
        golden_selectors=("tpu-v5p-4096",),
    ),
    # Published: a replica of the parameters on every chip.
    MeshRule(
        selector="tpu-v5p-(1024|2048|4096)",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(data=-1)), _OPTIONS),
        golden_selectors=("tpu-v5p-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-(16|32)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)), _OPTIONS),
        golden_selectors=("tpu-v5p-16",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5p-(1024|2048)",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)), _OPTIONS),
        golden_selectors=("tpu-v5p-1024",),
    ),
    *general_rules(
        "tpu-v5p",
        (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 12288),
        (
            Fit(configs=ALIBI_1B, smallest=8, keeps_products=False, max_tokens=4096),
            Fit(configs=ALIBI_7B, smallest=8, keeps_products=False, max_tokens=4096),
            Fit(configs=TINY, smallest=8, max_tokens=16384),
            Fit(configs=B1, smallest=8),
            Fit(configs=B3, smallest=8),
            Fit(configs=B7, smallest=8, keeps_products=False),
            Fit(configs=B7_SINGLE_HOST, smallest=8, largest=32, keeps_products=False),
            # Version 1, whose heads all have keys and values, would leave 3 % by plan.
            Fit(
                configs="fuji-70B-v[23].*",
                smallest=32,
                largest=32,
                model=4,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=B70, smallest=64, keeps_products=False),
            Fit(configs=B405, smallest=256, model=8, keeps_products=False),
        ),
        cores=2,
        others=(_OPTIONS,),
    ),
    single_host_rule("tpu-v5p-8", _OPTIONS),
)
