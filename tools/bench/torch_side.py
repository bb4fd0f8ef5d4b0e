"""The side of `tools.bench train` that is PyTorch's: python -m tools.bench.torch_side SIZES."""

from __future__ import annotations

import json
import sys
from typing import Any

from tools.bench.processes import Turns, train

try:
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]
except ImportError:
    sys.exit("error: PyTorch and transformers are not installed: pip install -e '.[oracles]'")


def by_torch(sizes: dict[str, Any], turns: Turns) -> None:
    """The same model and optimizer of transformers and PyTorch, eager."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    turns.ready(torch=torch.__version__, transformers=transformers.__version__)
    model: Any = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=sizes["vocab_size"],
            hidden_size=sizes["dim"],
            intermediate_size=sizes["feed_forward_dim"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_heads"],
            num_key_value_heads=sizes["num_kv_heads"],
            max_position_embeddings=sizes["sequence"],
            rms_norm_eps=sizes["norm_eps"],
            tie_word_embeddings=sizes["tied_head"],
            use_cache=False,
        )
    )
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=sizes["peak_learning_rate"],
        betas=(sizes["b1"], sizes["b2"]),
        eps=sizes["adam_eps"],
        weight_decay=sizes["weight_decay"],
    )
    shape = (sizes["batch"], sizes["sequence"])
    tokens = torch.randint(1, sizes["vocab_size"], shape, device=device)
    is_bf16 = sizes["dtype"] == "bfloat16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bf16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), sizes["max_norm"])
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    train(step, turns)


if __name__ == "__main__":
    by_torch(json.loads(sys.argv[1]), Turns())
