"""Mesh rules, one module per hardware: what becomes of each config there.

The rules called published are those of AXLearn for its fuji, honeycrisp and gala families, as they
stand. They were written for a flash attention kernel, which `attention.backend` "auto" is on TPUs
and GPUs. A launch counts the memory before it starts.
"""

from __future__ import annotations

from axl_exp.mesh import MeshRule
from mesh_rules import cpu, gpu, v4, v5e, v5p, v6e


def mesh_rules() -> tuple[MeshRule, ...]:
    """Return all rules in order of precedence."""
    return (*cpu.RULES, *v4.RULES, *v5e.RULES, *v5p.RULES, *v6e.RULES, *gpu.RULES)
