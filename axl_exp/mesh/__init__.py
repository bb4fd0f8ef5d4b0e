"""Meshes: axes, shapes, hardware and the rules that fit a config to it. Never imports jax."""

from axl_exp.mesh.axes import BATCH_AXES, MESH_AXES
from axl_exp.mesh.hardware import CHIPS, Chip, chip_of_device_kind, find_chip
from axl_exp.mesh.modifiers import (
    LimitFields,
    LimitTokensPerDevice,
    SetBatchPerDevice,
    SetFields,
    SetMeshShape,
)
from axl_exp.mesh.rules import (
    BadMeshRuleError,
    MeshModifier,
    MeshRule,
    NoMeshRuleError,
    TooSmallError,
    apply_rule,
    select_rule,
)
from axl_exp.mesh.selector import (
    HardwareSelector,
    UnknownHardwareError,
    parse_selector,
    selector_of_devices,
)
from axl_exp.mesh.shape import (
    AnyMeshShape,
    HybridMeshShape,
    MeshShape,
    MeshShapeError,
    axis_sizes,
    describe_mesh_shape,
    infer_mesh_shape,
    num_batch_shards,
    split_over_slices,
)

__all__ = [
    "BATCH_AXES",
    "CHIPS",
    "MESH_AXES",
    "AnyMeshShape",
    "BadMeshRuleError",
    "Chip",
    "HardwareSelector",
    "HybridMeshShape",
    "LimitFields",
    "LimitTokensPerDevice",
    "MeshModifier",
    "MeshRule",
    "MeshShape",
    "MeshShapeError",
    "NoMeshRuleError",
    "SetBatchPerDevice",
    "SetFields",
    "SetMeshShape",
    "TooSmallError",
    "UnknownHardwareError",
    "apply_rule",
    "axis_sizes",
    "chip_of_device_kind",
    "describe_mesh_shape",
    "find_chip",
    "infer_mesh_shape",
    "num_batch_shards",
    "parse_selector",
    "select_rule",
    "selector_of_devices",
    "split_over_slices",
]
