"""The mesh axes, outermost first: neighbours on the last axis are the closest devices."""

from __future__ import annotations

MESH_AXES = ("pipeline", "data", "expert", "fsdp", "seq", "model")

# Axes over which the examples of a global batch are divided. `seq` and `model` divide each example.
BATCH_AXES = ("data", "expert", "fsdp")
