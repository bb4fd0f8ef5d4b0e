"""Logs of our own making, in the words of the trainers, with numbers that are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SEEDS = Path(__file__).resolve().parents[4] / "shared" / "seeds"
needs_seeds = pytest.mark.skipif(not SEEDS.is_dir(), reason="the seeds lie beside the project")

HEAD = """\
I0420 15:49:23.173704 1319 max_utils.py:800] System Information: Jax Version: 0.9.2
I0420 15:49:23.173812 1319 max_utils.py:801] System Information: Jaxlib Version: 0.9.2
I0420 15:49:23.173851 1319 max_utils.py:802] System Information: Jax Backend: PJRT C API
TFRT TPU v6 lite
Built on Mar 4 2026 11:32:08 (1772652728) cl/878335365
I0420 15:49:23.868773 1319 maxtext_utils.py:1718] Num_devices: 32, shape (1, 32, 1)
fsdp: 32
I0420 15:49:47.929844 1319 metric_logger.py:301] number parameters: 1.104 billion
"""
TAIL = """\
Per train step:
 Total TFLOPs: 13.59
 split as 93.93% learnable weight flops and 6.07% attention flops
"""


def loss_at(step: int) -> float:
    return 10.5 - 0.1 * step


def maxtext_line(step: int, *, at: float, seconds: float, loss: float, thread: int = 1319) -> str:
    """Return a step line as MaxText prints it; `at` is seconds after 15:50:00."""
    minute, second = divmod(at, 60)
    return (
        f"I0420 15:{50 + int(minute):02}:{second:09.6f} {thread} metric_logger.py:196] "
        f"completed step: {step}, seconds: {seconds:.3f}, "
        f"TFLOP/s/device: {13.59 / seconds:.3f}, Tokens/s/device: {2048 / seconds:.3f}, "
        f"total_weights: 65536, loss: {loss:.3f}, lm_loss: {loss:.3f}, "
        f"perplexity: {math.exp(loss):.3f}"
    )


@pytest.fixture
def maxtext() -> Callable[..., str]:
    def make(
        *,
        steps: Sequence[int] = range(20),
        step_seconds: float = 0.25,
        loss: Callable[[int], float] = loss_at,
        head: str = HEAD,
    ) -> str:
        """Make a log whose step k is printed k * step_seconds after its first."""
        lines = [
            maxtext_line(
                step,
                at=1 + i * step_seconds,
                seconds=15.2 if i == 0 else step_seconds,
                loss=loss(step),
            )
            for i, step in enumerate(steps)
        ]
        return head + "\n".join(lines) + "\n" + TAIL

    return make
