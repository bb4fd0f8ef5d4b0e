"""`python -m tools.oracles`: record what transformers computes for the Llamas of the tests.

Writes tests/hugging_face/recorded.json. Needs `pip install -e .[oracles] -c constraints.txt`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.hugging_face import llama_cases

try:
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    from tools.oracles.llama import compute
except ImportError:
    sys.exit(
        "error: torch and transformers are missing: pip install -e .[oracles] -c constraints.txt"
    )

_RECORD = Path(__file__).resolve().parents[2] / "tests" / "hugging_face" / "recorded.json"


def record(case: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of `compute`, as plain JSON."""
    computed = compute(case)
    return {
        # Of three positions in full: the first, one in the middle, the last.
        "logits": computed["logits"][:, [0, 20, 39]].astype(np.float64).tolist(),
        "loss": computed["loss"],
        "gradients": {
            name: {
                "norm": float(np.linalg.norm(gradient.astype(np.float64))),
                "projections": llama_cases.projections(name, gradient).tolist(),
            }
            for name, gradient in computed["gradients"].items()
        },
        "generated": computed["generated"].tolist(),
    }


def main() -> int:
    """Record every case."""
    recorded = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "cases": {name: record(case) for name, case in llama_cases.CASES.items()},
    }
    text = json.dumps(_rounded(recorded), separators=(",", ":")) + "\n"
    _RECORD.write_text(text, "utf-8")
    print(f"{_RECORD.name}: {len(text):,} bytes, {len(recorded['cases'])} cases")
    return 0


def _rounded(value: Any) -> Any:
    """Return floats to nine digits, which tell every float32 from its neighbours."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
