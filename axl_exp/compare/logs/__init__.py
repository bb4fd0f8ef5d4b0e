"""Logs of other trainers, read by what they say: MaxText, Megatron-LM, torchtitan, AXLearn.

Each format is a file here; `read.read_log` finds the format by content. Never imports jax.
"""
