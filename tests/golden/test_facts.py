from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from axl_exp.config import config_for_function
from axl_exp.golden.facts import config_facts, mesh_facts
from axl_exp.golden.params import params_text
from axl_exp.golden.program import Programs
from axl_exp.mesh import parse_selector
from axl_exp.optim import per_param_scale_by_path, scale_update_per_param
from axl_exp.registry import load_config
from axl_exp.resolve import resolve
from axl_exp.train.policy import every_n_steps_policy, never_policy


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs()


def tiny() -> Any:
    return load_config("fuji-tiny").config


def test_the_facts_of_llama_2_7b_follow_from_its_published_shape(programs):
    facts = config_facts(load_config("fuji-7B-v2").config, programs)
    dim, ffn, layers, vocab, length = 4096, 11008, 32, 32768, 4096
    per_layer = 4 * dim * dim + 3 * dim * ffn + 2 * dim
    params = vocab * dim + layers * per_layer + dim
    products = layers * (per_layer - 2 * dim) + vocab * dim
    attention = 12 * layers * dim * length
    cosine_half = 0.1 + 0.9 * (1 + np.cos(np.pi * (262144 - 2000) / (524288 - 2000))) / 2
    assert facts == {
        "params": f"{params:,}",
        "embedding_params": f"{vocab * dim:,}",
        "params_per_layer": f"{per_layer:,}",
        "params_bytes": f"{4 * params:,}",
        # Two moments, and the counts of Adam and of the schedule.
        "optimizer_state_bytes": f"{8 * params + 8:,}",
        "causal_flops_per_token": f"{6 * products + attention // 2:,}",
        "full_flops_per_token": f"{6 * products + attention:,}",
        "tokens_per_step": f"{4 * 2**20:,}",
        "steps": "524,288",
        "total_tokens": f"{2 * 2**40:,}",
        "learning_rate_at_step_1": "1.5e-07",
        "learning_rate_at_warmup": "0.0003",
        "learning_rate_at_half": f"{3e-4 * cosine_half:.6g}",
        "learning_rate_at_end": "3e-05",
        "checkpoints": "every 5,000 steps and at the end (524,288)",
        "evaluations_train": "every 5,000 steps and at the end (524,288)",
        "evaluations_validation": "every 5,000 steps and at the end (524,288)",
    }


def test_nothing_is_allocated_for_405b(programs):
    facts = config_facts(load_config("fuji-405B-v3").config, programs)
    assert facts["params"] == "405,945,663,488"


def test_optimizer_state_is_counted_in_its_dtypes(programs):
    cfg = tiny()
    params = int(config_facts(cfg, programs)["params"].replace(",", ""))
    cfg.learner.optimizer.mu_dtype = np.dtype(jax.numpy.bfloat16)
    facts = config_facts(cfg, programs)
    assert facts["optimizer_state_bytes"] == f"{6 * params + 8:,}"


@pytest.mark.parametrize(
    ("policy", "max_step", "words"),
    [
        (config_for_function(never_policy), 30, "never"),
        (config_for_function(every_n_steps_policy).set(n=10), 30, "every 10 steps"),
        (config_for_function(every_n_steps_policy).set(n=40), 30, "never"),
        (config_for_function(every_n_steps_policy).set(n=20), 30, "at step 20"),
        (
            config_for_function(every_n_steps_policy).set(n=10, min_step=15),
            50,
            "every 10 steps from 20",
        ),
    ],
)
def test_a_cadence_is_what_the_policy_answers(programs, policy, max_step, words):
    cfg = tiny().set(max_step=max_step)
    cfg.checkpointer.save_policy = policy
    assert config_facts(cfg, programs)["checkpoints"] == words


def test_a_mesh_says_what_each_device_gets_of_the_batch_and_holds_of_the_state(programs):
    resolved = resolve("fuji-7B-v2", selector="tpu-v4-1024")
    layer = 2 * 4096 * 4096 + 2 * 4096 * 4096 + 3 * 4096 * 11008
    norms_bytes = 4 * (2 * 32 + 1) * 4096  # On every device; the rest in 16 parts.
    bytes_here = 4 * (32 * layer + 32768 * 4096) // 16 + norms_bytes
    assert mesh_facts(resolved.config, parse_selector("tpu-v4-1024"), programs) == {
        "devices": "512",
        "mesh": "data=32, fsdp=16",
        "batch": "1,024 x 4,096 tokens",
        "batch_per_device": "2 x 4,096 tokens",
        "params_split": "embed over fsdp, vocab over fsdp",
        "params_bytes_per_device": f"{bytes_here:,}",
        # Two moments, and counts of steps.
        "optimizer_state_bytes_per_device": f"{2 * bytes_here + 8:,}",
    }


def test_every_parameter_has_its_shape_axes_start_decay_and_scale(programs):
    lines = params_text(tiny(), programs)
    assert lines["decoder/emb/token_emb/weight"] == (
        "float32[8192, 256], axes (vocab, vocab_embed), init normal(0.0625), decay 0.0003, scale 1"
    )
    assert lines["decoder/transformer/layer/feed_forward/norm/scale"] == (
        "float32[4, 256], axes (layers, norm), init 1, decay 0.0003, scale 1"
    )


def test_a_stated_start_is_the_one_that_is_drawn(programs):
    cfg = tiny()
    model = cfg.model.instantiate(rngs=nnx.Rngs(0))
    for path, line in params_text(cfg, programs).items():
        value: Any = model
        for name in path.split("/"):
            value = getattr(value, name)
        init = line.split(", init ")[1].split(",")[0]
        deviation = float(init.removeprefix("normal(").removesuffix(")"))
        if init.startswith("normal("):
            assert np.std(value[...]) == pytest.approx(deviation, rel=0.02), path
        else:
            assert np.all(value[...] == deviation), path


def test_scales_by_path_and_frozen_parameters_are_seen(programs):
    cfg = tiny()
    scale = config_for_function(per_param_scale_by_path)
    cfg.learner.optimizer.set(
        weight_decay_per_param_scale=scale.clone(
            scale_by_path=((".*/scale", 0.0),), description="no decay of norms"
        ),
        learning_rate_per_param_scale=scale.clone(
            scale_by_path=((".*/linear2/.*", 0.5),), description="slower"
        ),
    )
    cfg.learner.frozen_params = (".*/emb/.*",)
    cfg.learner.gradient_clipping = config_for_function(scale_update_per_param).set(
        per_param_scale=scale.clone(scale_by_path=((".*/o_proj/.*", 0.25),), description="muP")
    )
    ends = {path: line.split(", decay ")[1] for path, line in params_text(cfg, programs).items()}
    layer = "decoder/transformer/layer"
    assert ends["decoder/emb/token_emb/weight"] == "0, scale 0"
    assert ends["decoder/output_norm/scale"] == "0, scale 1"
    assert ends[f"{layer}/feed_forward/linear2/weight"] == "0.00015, scale 0.5"
    assert ends[f"{layer}/self_attention/attention/o_proj/weight"] == "0.0003, scale 0.25"
    assert ends[f"{layer}/feed_forward/linear1_0/weight"] == "0.0003, scale 1"
