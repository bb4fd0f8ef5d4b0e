"""One host: everything is split over all its devices, whose links are fast."""

from __future__ import annotations

from axl_exp.mesh import MeshRule, MeshShape, SetMeshShape


def single_host_rule(selector: str) -> MeshRule:
    """Return the rule for any config on the hosts that `selector` matches; put it last.

    It is the layout that needs the least memory. Not reviewed per config, since it is the same for
    all of them.
    """
    return MeshRule(
        selector=selector,
        configs=".*",
        modifiers=(SetMeshShape(MeshShape(fsdp=-1)),),
        golden_selectors=(),
    )
