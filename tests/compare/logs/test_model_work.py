"""FLOPs of models whose sizes a log states: as printed by the trainers, and on one basis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axl_exp.compare.comparison import compare
from axl_exp.compare.flop_basis import formula_of
from axl_exp.compare.load import load_run
from axl_exp.compare.logs.read import parse_log
from axl_exp.compare.model_work import ModelWork, work_of
from axl_exp.compare.sides import Side, Source, load_side
from axl_exp.compare.verdict import State
from axl_exp.model.flops import flops_per_token
from axl_exp.run.layout import RunDir
from experiments.fuji.tiny import fuji_tiny
from tests.compare.logs.conftest import HEAD

# The model that MaxText trains by default.
DEFAULT = {
    "base_emb_dim": 2048,
    "base_num_decoder_layers": 16,
    "base_num_query_heads": 16,
    "base_num_kv_heads": 16,
    "base_mlp_dim": 7168,
    "head_dim": 128,
    "mlp_activations": "['silu', 'linear']",
    "vocab_size": 32000,
    "max_target_length": 2048,
    "per_device_batch_size": 1.0,
    "num_experts": 1,
    "attention_type": "global",
}
LLAMA_3_8B = DEFAULT | {
    "base_emb_dim": 4096,
    "base_num_decoder_layers": 32,
    "base_num_query_heads": 32,
    "base_num_kv_heads": 8,
    "base_mlp_dim": 14336,
    "vocab_size": 128256,
    "max_target_length": 8192,
}


def head_of(sizes: dict[str, Any]) -> str:
    return HEAD + "".join(f"Config param {name}: {value}\n" for name, value in sizes.items())


def work_in(text: str) -> ModelWork:
    work = work_of(parse_log(text.encode(), path=Path("x.log")))
    assert work is not None
    return work


def test_the_sizes_of_a_maxtext_log_give_the_flops_and_the_split_that_it_prints(maxtext):
    """13.59 TFLOP a step, 6.07 % of them attention: printed by MaxText, not counted by us."""
    work = work_in(maxtext(head=head_of(DEFAULT)))
    assert round(work.causal * 2048 / 1e12, 2) == 13.59
    assert round(100 * (1 - 6 * work.product_params / work.causal), 2) == 6.07


def test_8b_at_8k_is_51_5_gflop_per_token_causal_and_57_9_full(maxtext):
    work = work_in(maxtext(head=head_of(LLAMA_3_8B)))
    assert round(work.causal / 1e9, 1) == 51.5 and round(work.full / 1e9, 1) == 57.9


def test_the_formula_on_sizes_counts_what_it_counts_on_a_built_model(maxtext):
    cfg: Any = fuji_tiny()
    sizes = DEFAULT | {
        "base_emb_dim": 256,
        "base_num_decoder_layers": 4,
        "base_num_query_heads": 8,
        "base_num_kv_heads": 4,
        "base_mlp_dim": 768,
        "head_dim": 32,
        "vocab_size": 8192,
        "max_target_length": 128,
    }
    built = flops_per_token(cfg.model, sequence_length=128)
    assert work_in(maxtext(head=head_of(sizes))).causal == pytest.approx(built.causal, rel=1e-12)


def test_megatrons_arguments_state_a_model_too():
    """GPT-3 175B: 96 layers of 12,288; its products are 24 · layers · dim² + 2 · dim · vocab."""
    arguments = {
        "num_layers": 96, "hidden_size": 12288, "ffn_hidden_size": 4 * 12288,
        "num_attention_heads": 96, "kv_channels": 128, "padded_vocab_size": 51200,
        "tensor_model_parallel_size": 8, "pipeline_model_parallel_size": 16,
        "max_position_embeddings": 2048, "seq_length": 2048,
    }  # fmt: skip
    text = "------------------------ arguments ------------------------\n"
    text += "".join(f"  {name} {'.' * (48 - len(name))} {v}\n" for name, v in arguments.items())
    text += "-------------------- end of arguments ---------------------\n"
    text += " iteration        1/      20 | consumed samples:           16 |"
    text += " elapsed time per iteration (ms): 4493.2 | lm loss: 1.0E+01 |\n"
    work = work_in(text)
    # Narayanan et al. 2021, equation 3, without recomputation, full attention:
    # 72 · B · S · l · h² · (1 + S / 6h + V / 12lh), per token.
    layers, dim, vocab, length = 96, 12288, 51200, 2048
    published = 72 * layers * dim**2 * (1 + length / (6 * dim) + vocab / (12 * layers * dim))
    assert work.full == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize("change", [{"num_experts": 8}, {"attention_type": "mla"}])
def test_what_is_no_dense_model_of_global_attention_is_not_counted(maxtext, change):
    text = maxtext(head=head_of(DEFAULT | change))
    assert work_of(parse_log(text.encode(), path=Path("x.log"))) is None


@pytest.fixture
def logs(maxtext, tmp_path):
    def make(sizes: dict[str, Any]):
        """Write two logs of one run, the second of a version that counted full attention."""
        causal = maxtext(head=head_of(sizes), steps=range(30))
        per_step = 13.59 + 0.0607 * 13.59
        full = maxtext(head=head_of(sizes), steps=range(30))
        full = full.replace("Total TFLOPs: 13.59", f"Total TFLOPs: {per_step:.2f}")
        rates = [f"TFLOP/s/device: {each / 0.25:.3f}" for each in (13.59, per_step)]
        full = full.replace(*rates)
        for name, text in (("a", causal), ("b", full)):
            (tmp_path / f"{name}.log").write_text(text)
        return [tmp_path / "a.log", tmp_path / "b.log"]

    return make


def tflops(paths):
    sides = [load_side(Side(path.name, (Source((path,)),))) for path in paths]
    (found,) = compare(sides)
    return next(m for m in found.metrics if m.key == "perf/tflops_per_device")


def test_versions_that_count_attention_differently_are_told_apart_and_recomputed(logs):
    paths = logs(DEFAULT)
    assert [formula_of(load_run(RunDir(path))) for path in paths] == [
        "MaxText's own, causal attention",
        "MaxText's own, full attention",
    ]
    found = tflops(paths)
    # As printed B is 6 % faster; the steps take equally long.
    assert found.relative == pytest.approx(0.0, abs=2e-3)
    assert found.state is State.WITHIN_NOISE
    assert "both recomputed by axl_exp.flops/1 from the sizes" in found.formula


def test_without_sizes_a_formula_has_the_name_of_its_trainer(maxtext, tmp_path):
    (tmp_path / "a.log").write_text(maxtext())
    assert formula_of(load_run(RunDir(tmp_path / "a.log"))) == "MaxText's own"
