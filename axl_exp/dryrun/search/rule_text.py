"""A mesh rule as the Python text that a file of `mesh_rules/` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axl_exp.mesh import (
    HardwareSelector,
    HybridMeshShape,
    MeshRule,
    MeshShape,
    SetFields,
    SetMeshShape,
    axis_sizes,
)


def file_of(hardware: HardwareSelector) -> str:
    """Return the file of `mesh_rules/` for a hardware."""
    return f"mesh_rules/{'gpu' if hardware.platform == 'gpu' else hardware.chip_name}.py"


def rule_text(rule: MeshRule, *, comment: str) -> str:
    """Return `rule` as an element of RULES: its names are of `axl_exp.mesh`.

    Args:
        rule: Of SetMeshShape, SetFields and modifiers whose repr is their text.
        comment: One line above it.
    """
    lines = [
        f"    # {comment}",
        "    MeshRule(",
        f"        selector={_quoted(rule.selector)},",
        f"        configs={_quoted(rule.configs)},",
        "        modifiers=(",
        *(f"            {line}" for modifier in rule.modifiers for line in _modifier(modifier)),
        "        ),",
        f"        golden_selectors=({', '.join(map(_quoted, rule.golden_selectors))},),",
        "    ),",
    ]
    return "\n".join(lines) + "\n"


def _modifier(modifier: Any) -> list[str]:
    if isinstance(modifier, SetMeshShape):
        return _set_mesh(modifier.shape)
    if isinstance(modifier, SetFields):
        fields = [f"    {line}" for line in _mapping(modifier.values)]
        return ["SetFields(", *fields, "),"]
    return [f"{modifier!r},"]


def _mapping(values: Mapping[str, Any]) -> list[str]:
    """One line per field, those of a mapping within it too."""
    lines = ["{"]
    for key, value in values.items():
        inner = _mapping(value) if isinstance(value, Mapping) else [_value(value)]
        inner[0] = f"{_quoted(key)}: {inner[0]}"
        inner[-1] += ","
        lines += [f"    {line}" for line in inner]
    return [*lines, "}"]


def _set_mesh(shape: Any) -> list[str]:
    if isinstance(shape, HybridMeshShape):
        return [
            "SetMeshShape(",
            f"    HybridMeshShape(ici={_mesh(shape.ici)}, dcn={_mesh(shape.dcn)})",
            "),",
        ]
    return [f"SetMeshShape({_mesh(shape)}),"]


def _mesh(shape: MeshShape) -> str:
    split = [f"{axis}={size}" for axis, size in axis_sizes(shape).items() if size != 1]
    return f"MeshShape({', '.join(split)})"


def _value(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """In double quotes, as ruff's formatter has it."""
    raw = "r" if "\\" in text else ""
    return f'{raw}"{text}"' if '"' not in text else repr(text)
