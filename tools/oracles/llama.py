"""What transformers computes for the Llamas of the tests, float32 on the CPU."""

from __future__ import annotations

from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

from tests.hugging_face import llama_cases

# Greedy generation: tokens of the prompt, and new ones.
_PROMPT_TOKENS = 12
_NUM_NEW_TOKENS = 16


def make_model(case: dict[str, Any]) -> Any:
    """Return transformers' model of a case with its weights, float32, on the CPU."""
    fields = {name: value for name, value in case.items() if name != "model_type"}
    config = transformers.AutoConfig.for_model(case["model_type"], **fields)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )
    tensors = {name: torch.from_numpy(w) for name, w in llama_cases.weights(case).items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise AssertionError(f"the names are not theirs: {missing} {unexpected}")
    return model.eval()


def compute(case: dict[str, Any]) -> dict[str, Any]:
    """Return logits [B, S, V], loss, gradients by name and greedy tokens of a case."""
    model = make_model(case)
    tokens = torch.from_numpy(llama_cases.tokens(case))
    output = model(input_ids=tokens[:, :-1], use_cache=False)
    loss = torch.nn.functional.cross_entropy(
        output.logits.reshape(-1, case["vocab_size"]), tokens[:, 1:].reshape(-1)
    )
    loss.backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    with torch.no_grad():
        generated = model.generate(
            tokens[:, :_PROMPT_TOKENS],
            attention_mask=torch.ones(len(tokens), _PROMPT_TOKENS, dtype=torch.long),
            do_sample=False,
            max_new_tokens=_NUM_NEW_TOKENS,
            eos_token_id=None,
            pad_token_id=0,
        )
    return {
        "logits": output.logits.detach().numpy(),
        "loss": loss.item(),
        "gradients": gradients,
        "generated": generated[:, _PROMPT_TOKENS:].numpy(),
    }
