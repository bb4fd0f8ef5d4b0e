"""TPU v4: 32 GiB per chip. The number in a selector counts TensorCores, two per chip."""

from __future__ import annotations

from axl_exp.mesh import LimitTokensPerDevice, MeshRule, MeshShape, SetMeshShape
from mesh_rules.compiler_options import ASYNC_ON_V4, tell_compiler
from mesh_rules.general import Fit, general_rules
from mesh_rules.single_host import single_host_rule
from mesh_rules.sizes import ALIBI_1B, ALIBI_7B, B1, B3, B7, B7_SINGLE_HOST, B70, B405, TINY
from mesh_rules.variants import VARIANT

_OPTIONS = tell_compiler(ASYNC_ON_V4)

RULES = (
    # Published.
    MeshRule(
        selector="tpu-v4-(1024|2048)",
        configs=f"fuji-(7B|8B)-v[^-]+(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)), LimitTokensPerDevice(8192), _OPTIONS),
        golden_selectors=("tpu-v4-1024",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-256",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(fsdp=-1)), LimitTokensPerDevice(16384), _OPTIONS),
        golden_selectors=("tpu-v4-256",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-(32|64)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)), _OPTIONS),
        golden_selectors=("tpu-v4-32",),
    ),
    # Published.
    MeshRule(
        selector="tpu-v4-(1024|2048)",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=16)), LimitTokensPerDevice(4096), _OPTIONS),
        golden_selectors=("tpu-v4-1024",),
    ),
    *general_rules(
        "tpu-v4",
        (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
        (
            Fit(configs=ALIBI_1B, smallest=8, keeps_products=False, max_tokens=4096),
            Fit(configs=ALIBI_7B, smallest=16, keeps_products=False, max_tokens=4096),
            Fit(configs=TINY, smallest=8, max_tokens=16384),
            Fit(configs=B1, smallest=8),
            Fit(configs=B3, smallest=8, keeps_products=False),
            Fit(configs=B7, smallest=16, keeps_products=False),
            Fit(configs=B7_SINGLE_HOST, smallest=16, largest=32, keeps_products=False),
            Fit(configs=B70, smallest=128, largest=128, model=4, keeps_products=False),
            Fit(configs=B70, smallest=256, keeps_products=False),
            Fit(configs=B405, smallest=1024, model=8, keeps_products=False),
        ),
        cores=2,
        others=(_OPTIONS,),
    ),
    single_host_rule("tpu-v4-8", _OPTIONS),
)
