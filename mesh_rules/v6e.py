"""TPU v6e: 32 GiB per chip. The published rules all offload, so none of them is here."""

from __future__ import annotations

from mesh_rules.single_host import single_host_rule

RULES = (single_host_rule("tpu-v6e-[148]"),)
