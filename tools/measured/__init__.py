"""Held against runs that others measured: `python -m tools.measured`."""
