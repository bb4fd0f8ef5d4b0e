"""The facts of a config, computed from it: sizes, operations, learning rates, cadences.

Every fact is a name and a text. Where the text is a number it has commas, no unit (that is in the
name) and as many digits as it needs, so that a reader can compare it: see `quantity.number_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from axl_exp.config.text import flatten
from axl_exp.golden.program import Array, Programs
from axl_exp.golden.traced import NotTraceableError
from axl_exp.mesh import HardwareSelector, axis_sizes, describe_mesh_shape, num_batch_shards

_EMBEDDING = "decoder/emb/"


def config_facts(cfg: Any, programs: Programs) -> dict[str, str]:
    """Return the facts of a trainer config, for any hardware."""
    model = programs.model(cfg)
    params, flops = model.params, model.flops_per_token
    layers = [p for p in params.values() if p.axes[:1] == ("layers",)]
    tokens_per_step = cfg.input.global_batch_size * cfg.input.max_sequence_length
    params_bytes = sum(p.size * np.dtype(p.dtype).itemsize for p in params.values())
    counts = {
        "params": sum(p.size for p in params.values()),
        "embedding_params": sum(p.size for n, p in params.items() if n.startswith(_EMBEDDING)),
        "params_per_layer": sum(p.size // p.shape[0] for p in layers),
        "params_bytes": params_bytes,
        "optimizer_state_bytes": programs.learner_state_bytes(cfg),
        "causal_flops_per_token": round(flops.causal),
        "full_flops_per_token": round(flops.full),
        "tokens_per_step": tokens_per_step,
        "steps": cfg.max_step,
        "total_tokens": tokens_per_step * cfg.max_step,
    }
    return {
        **{name: f"{count:,}" for name, count in counts.items()},
        **_learning_rates(cfg, programs.update(cfg).learning_rate),
        "checkpoints": _cadence(cfg.checkpointer.save_policy, cfg.max_step),
        **{
            f"evaluations_{name}": _cadence(evaler.eval_policy, cfg.max_step)
            for name, evaler in sorted(cfg.evalers.items())
        },
    }


def mesh_facts(cfg: Any, hardware: HardwareSelector, programs: Programs) -> dict[str, str]:
    """Return what a config that is resolved for `hardware` makes of its mesh, batch and state.

    Bytes are those of one device between steps; a dim that does not divide is padded.
    """
    rows, positions = cfg.input.global_batch_size, cfg.input.max_sequence_length
    sizes = axis_sizes(cfg.mesh_shape)
    per_device = rows // num_batch_shards(cfg.mesh_shape), positions // sizes["seq"]
    rules = {
        logical: [axis for axis in axes if sizes[axis] > 1]
        for logical, axes in cfg.model.logical_axis_rules.items()
    }
    at_rest = programs.at_rest(cfg)
    used = {axis for array in at_rest.params for axis in array.axes}
    split = [f"{name} over {'*'.join(rules[name])}" for name in sorted(used) if rules[name]]

    def local_bytes(arrays: Sequence[Array]) -> int:
        return sum(_local_bytes(array, rules, sizes) for array in arrays)

    return {
        "devices": f"{hardware.num_devices:,}",
        "mesh": describe_mesh_shape(cfg.mesh_shape),
        "batch": f"{rows:,} x {positions:,} tokens",
        "batch_per_device": f"{per_device[0]:,} x {per_device[1]:,} tokens",
        "params_split": ", ".join(split) or "not",
        "params_bytes_per_device": f"{local_bytes(at_rest.params):,}",
        "optimizer_state_bytes_per_device": f"{local_bytes(at_rest.opt_state):,}",
    }


def _local_bytes(array: Array, rules: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> int:
    """The bytes of an array on one device."""
    num_parts = [math.prod(sizes[axis] for axis in rules[name]) for name in array.axes]
    num_parts += [1] * (len(array.shape) - len(num_parts))
    dims = zip(array.shape, num_parts, strict=True)
    return math.prod(-(-size // parts) for size, parts in dims) * array.itemsize


def _learning_rates(cfg: Any, rate_at: Callable[[int], float]) -> dict[str, str]:
    steps = {"step_1": 1, "warmup": _warmup_steps(cfg), "half": cfg.max_step // 2}
    steps["end"] = cfg.max_step
    rates = {}
    for name, step in steps.items():
        if step:
            try:
                rates[f"learning_rate_at_{name}"] = f"{rate_at(step):.6g}"
            except NotTraceableError as error:
                return {"learning_rate": f"not known beforehand: it depends on {error}"}
    return rates


def _warmup_steps(cfg: Any) -> int:
    """The longest warm-up of any schedule of the learner; 0 where there is none."""
    texts: Mapping[str, str] = flatten(cfg.learner)
    found = [int(t) for p, t in texts.items() if p.endswith("warmup_steps") and t.isdigit()]
    return max(found, default=0)


def _cadence(policy: Any, max_step: int) -> str:
    """Return when a policy says yes, in words, from asking it at each step until the second yes."""
    says_yes = policy.instantiate()
    hits = (step for step in range(1, max_step + 1) if says_yes(step, max_step))
    first, second = next(hits, None), next(hits, None)
    if first is None:
        return "never"
    if second is None:
        return f"at step {first:,}"
    period = second - first
    words = f"every {period:,} steps" + (f" from {first:,}" if first != period else "")
    is_last_extra = says_yes(max_step, max_step) and (max_step - first) % period
    return words + (f" and at the end ({max_step:,})" if is_last_extra else "")
