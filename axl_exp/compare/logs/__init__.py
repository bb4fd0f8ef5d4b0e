"""Logs of other trainers, read by what they say: MaxText, Megatron-LM and its forks, NeMo,
torchtitan, AXLearn, Hugging Face's Trainer, DeepSpeed.

Each format is a file here; `read.read_log` finds the format by content. Never imports jax.
"""
