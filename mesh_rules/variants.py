"""Variants of a config that run where it does, by the same rule."""

from __future__ import annotations

# The end of a pattern over names of configs.
VARIANT = "(-flash|-fp8)?"
