"""Runs that others measured, each with the config in `tools.measured.configs` of its shape."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A published measurement."""

    config: str
    selector: str
    tokens_per_second_per_device: float
    source: str


_MAXTEXT_RECIPES = "AI-Hypercomputer's tpu-recipes, training/trillium, "

ROWS = (
    Row(
        "maxtext-1B",
        "tpu-v6e-8",
        17_234,
        "MaxText log, step 9 of a run on its default model: 0.119 s",
    ),
    Row(
        "maxtext-llama3.1-8B-v6e-8",
        "tpu-v6e-8",
        7_139,
        _MAXTEXT_RECIPES + "Llama3.1-8B-MaxText/v6e-8: 3.443 s",
    ),
    Row("maxtext-llama3.1-8B", "tpu-v6e-256", 7_207, "MaxText, published: 45.5 % MFU, full"),
    Row(
        "maxtext-llama3.1-70B",
        "tpu-v6e-256",
        960,
        _MAXTEXT_RECIPES + "Llama3.1-70B-MaxText/v6e-256: 42.656 s; 50.3 % MFU, full",
    ),
    Row("maxtext-llama2-70B", "tpu-v5p-1024", 692, "MaxText, published: 65.4 % MFU, full"),
    Row("torchtitan-llama3.1-8B", "gpu-h100-8", 6_667, "torchtitan, published: 39 % MFU, full"),
    Row("torchtitan-llama3.1-8B-fp8-32", "gpu-h200-32", 10_938, "torchtitan, published: fp8"),
    Row("torchtitan-llama3.1-8B-fp8-64", "gpu-h200-64", 10_753, "torchtitan, published: fp8"),
    Row(
        "megatron-llama3-8B-fp8",
        "gpu-h100-8",
        14_451,
        "Megatron-Bridge, performance summary, 25.11, DGX-H100: 744 TFLOP/s, causal",
    ),
)
