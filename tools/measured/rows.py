"""Runs that others measured, each with the config of its shape.

A shape that is none of our own configs' is in `tools.measured.configs`.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from axl_exp.config import Override
from axl_exp.resolve import Resolved, resolve

_CONFIGS = "tools.measured.configs"


@dataclasses.dataclass(frozen=True)
class Row:
    """A published measurement."""

    config: str
    selector: str
    tokens_per_second_per_device: float
    source: str
    lacks: frozenset[str] = frozenset()
    """Options of the compiler that our rule tells and the run did not."""

    def resolved(self) -> Resolved:
        """Return the config as the run had it."""
        resolved = resolve(self.config, selector=self.selector, module=_CONFIGS)
        told: Any = resolved.config
        options = {k: v for k, v in told.compiler_options.items() if k not in self.lacks}
        if options == told.compiler_options:
            return resolved
        override = Override("compiler_options", json.dumps(options))
        return resolve(self.config, selector=self.selector, overrides=[override], module=_CONFIGS)


def _step(config: str, selector: str, *, seconds: float, chips: int, source: str) -> Row:
    """A step of the 4 Mi tokens that AXLearn's fuji has, on `chips` of the hardware."""
    rate = 4 * 2**20 / seconds / chips
    lacks = frozenset({"xla_tpu_scoped_vmem_limit_kib"})
    return Row(config, selector, rate, f"{source}: {seconds} s", lacks)


# As a list of the paper's results has them: there the 7B on H100 is without the number of chips,
# which is that of AXLearn's comments on the same step.
_AXLEARN_PAPER = "arXiv:2507.05411, AXLearn"
_AXLEARN_COMMENT = "AXLearn, experiments/text/gpt/fuji.py, a comment of 2024"
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
    # 196.4e9 operations a token, 6 per parameter and full attention.
    Row("maxtext-32B-v5e", "tpu-v5e-256", 672, "MaxText, configs/v5e/README.md: 132 TFLOP/s"),
    _step("fuji-7B-v2", "gpu-h100-256", seconds=1.4, chips=256, source=_AXLEARN_PAPER),
    _step("fuji-70B-v2", "gpu-h100-512", seconds=9.2, chips=512, source=_AXLEARN_PAPER),
    _step("fuji-7B-v2", "tpu-v5p-512", seconds=2.5, chips=256, source=_AXLEARN_PAPER),
    _step("fuji-70B-v2", "tpu-v5p-1024", seconds=11.6, chips=512, source=_AXLEARN_PAPER),
    _step("fuji-7B-v1", "tpu-v4-1024", seconds=3.03, chips=512, source=_AXLEARN_COMMENT),
    _step("fuji-7B-v2", "tpu-v5e-256-4", seconds=2.21, chips=1024, source=_AXLEARN_COMMENT),
    _step("fuji-70B-v2", "tpu-v5e-256-4", seconds=14.37, chips=1024, source=_AXLEARN_COMMENT),
)
