"""TPU v5e: 16 GiB per chip."""

from __future__ import annotations

from axl_exp.mesh import LimitTokensPerDevice, MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.compiler_options import (
    ASYNC_GATHER,
    BLOCKS_OF_V5E,
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

_REMAT = "model.decoder.transformer.layer.remat_spec"
_FUJI_7B = f"fuji-(7B|8B)-v[^-]+(-tiktoken)?{VARIANT}"

# Every product waits in the host's memory for the backward pass.
_OFFLOAD_PRODUCTS = SetFields(
    {f"{_REMAT}.save": "", f"{_REMAT}.offload": ".*_proj|context|linear.*"}
)

# Those of attention alone.
_OFFLOAD_ATTENTION = SetFields({f"{_REMAT}.save": "", f"{_REMAT}.offload": "[qkvo]_proj|context"})

# MaxText's benchmarks/maxtext_v5e_model_configs.py: all of its models have the first two groups,
# the one that offloads (Llama 3.1 8B) the others too. Blocks of 32 MiB are for the rest of ours: by
# libtpu's estimates a 1B takes 2 % less time with them, a 7B 9, a 32B 18.
_OPTIONS = tell_compiler(ASYNC_GATHER, DATA_PARALLEL, BLOCKS_OF_V5E)
_OPTIONS_WITH_OFFLOAD = tell_compiler(
    ASYNC_GATHER, DATA_PARALLEL, LARGE_BLOCKS, SCATTER_LAYOUT, HOST_OFFLOAD
)

RULES = (
    # As published for version 2 on two slices: four times its tokens are too many to keep, and on
    # one slice in four parts too many for the host's memory.
    MeshRule(
        selector="tpu-v5e-256(-4)?",
        configs=f"fuji-(7B|8B)-v3(-tiktoken)?{VARIANT}",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            _OFFLOAD_PRODUCTS,
            LimitTokensPerDevice(8192),
            _OPTIONS_WITH_OFFLOAD,
        ),
        golden_selectors=("tpu-v5e-256", "tpu-v5e-256-4"),
    ),
    # Published: one slice has room for one sequence per chip, a fourth of the batch of version 2.
    MeshRule(
        selector="tpu-v5e-256",
        configs=_FUJI_7B,
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            _OFFLOAD_PRODUCTS,
            SetFields({"accumulation_steps": 4}),
            _OPTIONS_WITH_OFFLOAD,
        ),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256-2",
        configs=_FUJI_7B,
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            _OFFLOAD_PRODUCTS,
            LimitTokensPerDevice(8192),
            _OPTIONS_WITH_OFFLOAD,
        ),
        golden_selectors=("tpu-v5e-256-2",),
    ),
    # Published: four slices, one sequence per chip, every product kept for the backward pass.
    MeshRule(
        selector="tpu-v5e-256-4",
        configs=_FUJI_7B,
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            SetFields({f"{_REMAT}.save": ".*"}),
            _OPTIONS,
        ),
        golden_selectors=("tpu-v5e-256-4",),
    ),
    # Published with every product offloaded, as a step time of 14.4 s: that is 55 GB of version 2,
    # 64 GB of version 1, where a host's machine types have 48 GB per chip. A sequence of version 3
    # is too long for one chip.
    MeshRule(
        selector="tpu-v5e-256-4",
        configs=f"fuji-70B-v[12]{VARIANT}",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            _OFFLOAD_ATTENTION,
            _OPTIONS_WITH_OFFLOAD,
        ),
        golden_selectors=("tpu-v5e-256-4",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="honeycrisp-3B",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=256)),
            LimitTokensPerDevice(8192),
            _OPTIONS,
        ),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published, as a step time of 0.67 s.
    MeshRule(
        selector="tpu-v5e-32",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)), _OPTIONS),
        golden_selectors=("tpu-v5e-32",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-(85M|302M)",
        modifiers=(SetMeshShape(MeshShape(data=-1)), _OPTIONS),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-1B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)), _OPTIONS),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published; what its recipe keeps is too much beside the scores of attention.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-7B-hybridnorm-alibi",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=32)),
            SetFields({f"{_REMAT}.save": ""}),
            LimitTokensPerDevice(4096),
            _OPTIONS,
        ),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v5e-256",
        configs="gala-7B",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=32)), LimitTokensPerDevice(4096), _OPTIONS),
        golden_selectors=("tpu-v5e-256",),
    ),
    # Its state alone is most of eight slices' memory.
    MeshRule(
        selector="tpu-v5e-.*",
        configs=B405,
        modifiers=(),
        golden_selectors=(),
        smallest="none of v5e, but tpu-v6e-256-2",
    ),
    *general_rules(
        "tpu-v5e",
        (1, 4, 8, 16, 32, 64, 128, 256),
        (
            Fit(configs=ALIBI_1B, smallest=4, keeps_products=False, max_tokens=4096),
            Fit(
                configs=ALIBI_7B,
                smallest=16,
                largest=16,
                model=2,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=ALIBI_7B, smallest=32, keeps_products=False, max_tokens=4096),
            Fit(configs=TINY, smallest=1, max_tokens=16384),
            Fit(configs=B1, smallest=4),
            Fit(
                configs="honeycrisp-3B",
                smallest=4,
                largest=4,
                model=2,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=B3, smallest=8, keeps_products=False),
            Fit(
                configs=B7,
                smallest=8,
                largest=8,
                model=2,
                keeps_products=False,
                optimizer_on_host=True,
            ),
            Fit(configs=B7, smallest=16, largest=16, model=4, keeps_products=False),
            Fit(configs=B7, smallest=32, keeps_products=False),
            Fit(
                configs=B7_SINGLE_HOST,
                smallest=8,
                largest=8,
                model=2,
                keeps_products=False,
                optimizer_on_host=True,
            ),
            Fit(configs=B7_SINGLE_HOST, smallest=16, model=4, keeps_products=False),
            Fit(configs=B70, smallest=128, largest=128, model=8, keeps_products=False),
            Fit(configs=B70, smallest=256, model=4, keeps_products=False),
        ),
        max_slices=8,
        others=(_OPTIONS,),
    ),
    single_host_rule("tpu-v5e-[148]", _OPTIONS),
)
