"""GPUs, eight to a node."""

from __future__ import annotations

from axl_exp.mesh import LimitTokensPerDevice, MeshRule, MeshShape, SetFields, SetMeshShape
from mesh_rules.compiler_options import SCATTER_AT_ONCE, tell_compiler
from mesh_rules.general import Fit, general_rules
from mesh_rules.single_host import single_host_rule
from mesh_rules.sizes import (
    ALIBI_1B,
    ALIBI_7B,
    B1,
    B3,
    B7,
    B7_ALONE,
    B7_SINGLE_HOST,
    B70,
    B405,
    TINY,
)
from mesh_rules.variants import VARIANT

# Nothing but norms and what lies between two products is computed again, and layers are no loop: a
# loop copies what it keeps into stacks, and weights and gradients out of and into theirs.
_KEEP_ALL = (
    SetFields(
        {
            "model.decoder.transformer.layer.remat_spec.save": (
                "[qkvo]_proj|flash_residuals|linear1.*"
            ),
            "model.decoder.transformer.unroll": True,
        }
    ),
    tell_compiler(SCATTER_AT_ONCE),
)

# A100 and H100.
_FITS_80_GB = (
    Fit(configs=ALIBI_1B, smallest=1, keeps_products=False, max_tokens=4096),
    Fit(
        configs=ALIBI_7B,
        smallest=2,
        largest=2,
        model=2,
        keeps_products=False,
        max_tokens=4096,
    ),
    Fit(configs=ALIBI_7B, smallest=4, largest=128, keeps_products=False, max_tokens=4096),
    Fit(configs=TINY, smallest=1, max_tokens=16384),
    Fit(configs=B1, smallest=1, max_tokens=16384, others=_KEEP_ALL),
    Fit(configs=B3, smallest=1, largest=1, keeps_products=False),
    Fit(configs=B3, smallest=2, others=_KEEP_ALL),
    Fit(configs=B7_ALONE, smallest=2, largest=2, keeps_products=False, max_tokens=4096),
    Fit(configs=B7, smallest=4, largest=4, keeps_products=False),
    Fit(configs=B7, smallest=8, largest=128, others=_KEEP_ALL),
    Fit(configs=B7_SINGLE_HOST, smallest=4, largest=4, keeps_products=False),
    Fit(configs=B7_SINGLE_HOST, smallest=8, largest=16, others=_KEEP_ALL),
    Fit(configs=B70, smallest=32, largest=256, keeps_products=False),
    Fit(configs=B405, smallest=128, model=8, keeps_products=False),
)

# H200 and B200, with 141 and 180 GB.
_FITS_LARGE_MEMORY = (
    Fit(configs=ALIBI_1B, smallest=1, keeps_products=False, max_tokens=4096),
    Fit(configs=ALIBI_7B, smallest=2, keeps_products=False, max_tokens=4096),
    Fit(configs=TINY, smallest=1, max_tokens=16384),
    Fit(configs=B1, smallest=1, max_tokens=16384, others=_KEEP_ALL),
    Fit(configs=B3, smallest=1, others=_KEEP_ALL),
    Fit(configs=B7, smallest=2, largest=2, keeps_products=False),
    Fit(configs=B7, smallest=4, others=_KEEP_ALL),
    Fit(configs=B7_SINGLE_HOST, smallest=2, largest=2, keeps_products=False),
    Fit(configs=B7_SINGLE_HOST, smallest=4, largest=16, others=_KEEP_ALL),
    Fit(configs=B70, smallest=16, keeps_products=False),
)

_NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

RULES = (
    # Published, for p5, p4de and a3 machines: parameters are split within a node.
    MeshRule(
        selector="gpu-(h100|a100)-(256|512|1024)",
        configs=f"fuji-(7B|8B)-v[^-]+(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)), LimitTokensPerDevice(16384)),
        golden_selectors=("gpu-h100-256",),
    ),
    # Published, for p5 and p4de machines.
    MeshRule(
        selector="gpu-(h100|a100)-(512|1024)",
        configs="fuji-70B-.*",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=128)), LimitTokensPerDevice(4096)),
        golden_selectors=("gpu-h100-512",),
    ),
    # Published, for a3 machines; on the larger numbers the rule above, for the same chip, comes
    # first.
    MeshRule(
        selector="gpu-h100-256",
        configs="fuji-70B-.*",
        modifiers=(
            SetMeshShape(MeshShape(data=-1, fsdp=64)),
            SetFields({"model.decoder.transformer.layer.remat_spec.save": ""}),
            LimitTokensPerDevice(8192),
        ),
        golden_selectors=("gpu-h100-256",),
    ),
    # Published, for p5, p4de and a3 machines, and for p4d, whose A100 has 40 GB.
    MeshRule(
        selector="gpu-((h100|a100)-(64|128|256|512|1024)|a100-40gb-256)",
        configs="honeycrisp-3B",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)), LimitTokensPerDevice(32768)),
        golden_selectors=("gpu-h100-64", "gpu-a100-40gb-256"),
    ),
    # Published, for p5, p4de and a3 machines: 0.92 s per step on 16 H100.
    MeshRule(
        selector="gpu-(h100|a100)-(16|32|64)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1)),),
        golden_selectors=("gpu-h100-16",),
    ),
    # Published, for p4d machines.
    MeshRule(
        selector="gpu-a100-40gb-(16|32|64|128)",
        configs="honeycrisp-85M",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("gpu-a100-40gb-16",),
    ),
    # Published, for p5 and p4de machines.
    MeshRule(
        selector="gpu-(h100|a100)-(256|512|1024)",
        configs="gala-7B(-hybridnorm-alibi)?",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("gpu-h100-256",),
    ),
    # Not published. Two sequences of 8192 per GPU: at most 47 GB, as mesh_rules/v5p.py counts.
    MeshRule(
        selector="gpu-(h200|b200)-1024",
        configs=f"fuji-(1B|3B)-v3(-tiktoken)?{VARIANT}",
        modifiers=(SetMeshShape(MeshShape(data=-1, fsdp=8)),),
        golden_selectors=("gpu-h200-1024",),
    ),
    *general_rules(
        "gpu-a100-40gb",
        _NUMBERS,
        (
            Fit(configs=ALIBI_1B, smallest=1, keeps_products=False, max_tokens=4096),
            Fit(
                configs=ALIBI_7B,
                smallest=4,
                largest=4,
                model=4,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=ALIBI_7B, smallest=8, keeps_products=False, max_tokens=4096),
            Fit(configs=TINY, smallest=1, max_tokens=16384),
            Fit(configs=B1, smallest=1, largest=1, max_tokens=4096, others=_KEEP_ALL),
            Fit(configs=B1, smallest=2, others=_KEEP_ALL),
            Fit(configs="honeycrisp-3B", smallest=2, largest=2, keeps_products=False),
            Fit(configs=B3, smallest=2, largest=2, model=2, keeps_products=False),
            Fit(configs=B3, smallest=4, others=_KEEP_ALL),
            Fit(
                configs=B7_ALONE,
                smallest=4,
                largest=4,
                model=2,
                keeps_products=False,
                max_tokens=4096,
            ),
            Fit(configs=B7, smallest=8, largest=16, keeps_products=False),
            Fit(configs=B7, smallest=32, others=_KEEP_ALL),
            Fit(configs=B7_SINGLE_HOST, smallest=8, largest=16, keeps_products=False),
            Fit(configs=B70, smallest=64, model=4, keeps_products=False),
            Fit(configs=B405, smallest=512, model=8, keeps_products=False),
        ),
        reviewed=False,
    ),
    *general_rules(
        "gpu-a100",
        _NUMBERS,
        _FITS_80_GB,
        reviewed=False,
    ),
    *general_rules(
        "gpu-h100",
        _NUMBERS,
        _FITS_80_GB,
    ),
    *general_rules(
        "gpu-h200",
        _NUMBERS,
        (
            *_FITS_LARGE_MEMORY,
            Fit(configs=B405, smallest=128, model=8, keeps_products=False),
        ),
        reviewed=False,
    ),
    *general_rules(
        "gpu-b200",
        _NUMBERS,
        (
            Fit(configs=ALIBI_7B, smallest=1, largest=1, keeps_products=False, max_tokens=4096),
            Fit(configs=B7_ALONE, smallest=1, largest=1, keeps_products=False, max_tokens=4096),
            *_FITS_LARGE_MEMORY,
            Fit(configs=B405, smallest=64, model=8, keeps_products=False),
        ),
        reviewed=False,
    ),
    single_host_rule("gpu-.*-[1248]"),
)
