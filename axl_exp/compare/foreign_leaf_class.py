"""What an argument of MaxText, Megatron-LM or torchtitan can have an effect on, by its name."""

from __future__ import annotations

import re

from axl_exp.config.leaf_class import LeafClass

# The first pattern that is found in the name wins; a name that none knows is `numerics`.
_PATTERNS = (
    (
        r"^(save|load|log|wandb|tensorboard|exit|timing|profile\w*|xprof|run_name|base_output|output|"
        r"job|comm_trace|dump|print|metrics?|gcs|enable_(checkpoint|tensorboard|goodput)|async_save|"
        r"checkpoint(?!_activations)|ckpt|barrier|rank$|local_rank|hardware|straggler|one_logger|"
        r"no_(save|load)|finetune$|eval_(interval|iters)|validation\.|experimental\.custom)",
        LeafClass.IO,
    ),
    (
        r"parallel|mesh|sharding|shard|fsdp|(^|_)(ici|dcn|tp|pp|dp|ep|cp)_|remat|recompute|overlap|"
        r"pipeline|world_size|distributed|ddp|zero|offload|num_slices|activation_checkpoint|"
        r"checkpoint_activations|transformer_pipeline|virtual|logical_axis|tensor_model",
        LeafClass.PARALLELISM,
    ),
    (
        r"adam|optimizer|opt_|(^|[_.])(lr|min_lr|sgd|muon|shampoo)([_.]|$)|learning_rate|"
        r"weight_decay|clip|warmup|momentum|decay|train_(iters|samples)|(^|_)steps$|loss_scale|"
        r"gradient_accumulation|cosine|schedule",
        LeafClass.OPTIMIZER,
    ),
    (
        r"data|tokenizer|vocab|batch|seq(uence)?_len|max_target_length|^seq_length|^split$|pack|"
        r"hf_path|grain|shuffle|num_workers|mmap|reset_(position|attention)|eod",
        LeafClass.DATA,
    ),
)
_COMPILED = tuple((re.compile(pattern), leaf_class) for pattern, leaf_class in _PATTERNS)


def foreign_leaf_class(path: str) -> LeafClass:
    """Return the class of another trainer's argument; unknown names are NUMERICS."""
    name = path.strip("[]'\"").lower().replace("-", "_")
    for pattern, result in _COMPILED:
        if pattern.search(name):
            return result
    return LeafClass.NUMERICS
