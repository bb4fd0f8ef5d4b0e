"""Mesh rules, one module per hardware: what becomes of each config there.

The rules called published are those of AXLearn for its fuji, honeycrisp and gala families, as they
stand. They were written for a flash attention kernel; the model here has none yet, so some of them
need more memory than they did there. A launch counts the memory before it starts.

Rules of AXLearn that offload activations to the host or accumulate gradients are not here: neither
is part of the model or the trainer yet, and half of such a rule would be another rule.
"""

from __future__ import annotations

from axl_exp.mesh import MeshRule
from mesh_rules import cpu, gpu, v4, v5e, v5p, v6e


def mesh_rules() -> tuple[MeshRule, ...]:
    """Return all rules in order of precedence."""
    return (*cpu.RULES, *v4.RULES, *v5e.RULES, *v5p.RULES, *v6e.RULES, *gpu.RULES)
