"""Dry runs: what a config will need, send and take on a hardware, told without that hardware."""
