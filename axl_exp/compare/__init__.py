"""Compares two training runs from what their run directories hold. Never imports jax."""
