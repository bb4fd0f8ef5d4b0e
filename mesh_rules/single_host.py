"""One host: everything is split over all its devices, whose links are fast."""

from __future__ import annotations

from axl_exp.mesh import MeshModifier, MeshRule, MeshShape, SetMeshShape


def single_host_rule(selector: str, *others: MeshModifier) -> MeshRule:
    """Return the rule for any config on the hosts that `selector` matches; put it last.

    It is the layout that needs the least memory. Not reviewed per config, since it is the same for
    all of them. `others` are what the hardware wants besides.
    """
    return MeshRule(
        selector=selector,
        configs=".*",
        modifiers=(SetMeshShape(MeshShape(fsdp=-1)), *others),
        golden_selectors=(),
    )
