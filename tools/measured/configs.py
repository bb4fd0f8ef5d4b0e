"""Configs in the shape of runs that others measured: what a dry run's prediction is held against.

Shape, batch, sequence, mesh and what is kept of a layer are those of the measured run as published;
the rest is ours. Use them by `--module=tools.measured.configs`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from axl_exp.mesh import MeshRule, MeshShape
from axl_exp.model import RematSpec
from axl_exp.model.attention_backend import SplashSpec
from axl_exp.train.trainer import SpmdTrainer
from experiments.fuji.recipe import trainer_config, with_fp8
from experiments.fuji.sizes import SIZES, VERSIONS, Size
from mesh_rules.compiler_options import (
    ASYNC_GATHER,
    DATA_PARALLEL,
    GATHER_ACROSS_LAYERS,
    HOST_OFFLOAD,
    LARGE_BLOCKS,
    SCATTER_LAYOUT,
    Options,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What a source says about a run."""

    size: Size
    num_kv_heads: int
    vocab_size: int
    sequence_length: int
    global_batch_size: int
    rope_theta: float
    remat: RematSpec
    splash: SplashSpec | None = None
    """Blocks of the attention kernel; None: as they come."""
    mesh_shape: MeshShape = dataclasses.field(default_factory=lambda: MeshShape(fsdp=-1))
    compiler_options: Options = dataclasses.field(default_factory=dict)
    fp8: bool = False
    """With one scale for a whole operand."""
    accumulation_steps: int = 1

    def config(self) -> SpmdTrainer.Config:
        """Return it as a config of ours."""
        version = dataclasses.replace(
            VERSIONS["v3"],
            vocab_size=self.vocab_size,
            max_sequence_length=self.sequence_length,
            rope_theta=self.rope_theta,
        )
        cfg = trainer_config(
            size=self.size,
            num_kv_heads=self.num_kv_heads,
            version=version,
            max_step=10_000,
            global_batch_size=self.global_batch_size,
            weight_decay=0.1,
            eval_every_n_steps=10_000,
            save_every_n_steps=10_000,
        )
        layer = cfg.model.decoder.transformer.layer
        layer.remat_spec = self.remat
        layer.self_attention.attention.splash = self.splash
        if self.fp8:
            cfg = with_fp8(cfg)
            cfg.model.quantization.scale_per = "tensor"
        return cfg.set(
            evalers={},
            mesh_shape=self.mesh_shape,
            accumulation_steps=self.accumulation_steps,
            compiler_options=dict(self.compiler_options),
        )


_MAXTEXT_1B = Size(
    num_layers=16,
    dim=2048,
    num_heads=16,
    num_kv_heads=16,
    ffn_dim=7168,
    peak_lr=3e-4,
    versions=(),
    tied_head=False,
)
# Its global_parameter_scale=32: heads and feed-forward four times as many, the dim four times as
# large, and twice the layers.
_MAXTEXT_32B = dataclasses.replace(
    _MAXTEXT_1B, num_layers=32, dim=8192, num_heads=64, num_kv_heads=64, ffn_dim=28_672
)
# Of Llama 3.1 in MaxText's benchmarks/maxtext_trillium_model_configs.py, at tpu-recipes-v0.1.4:
# blocks, one backward kernel, and what the compiler is told. The 8B model has all-reduces on the
# SparseCore besides, for which libtpu must be told of another chip at its start.
_TRILLIUM_SPLASH = SplashSpec(
    block_q=2048,
    block_kv=2048,
    block_q_backward=2048,
    block_kv_backward=2048,
    block_kv_compute=2048,
    fused_backward=True,
)
_TRILLIUM_OPTIONS: dict[str, bool | int | str] = {
    **LARGE_BLOCKS,
    **SCATTER_LAYOUT,
    **DATA_PARALLEL,
    **ASYNC_GATHER,
    **HOST_OFFLOAD,
}


def _llama3_1_8b(*, rows: int, chips: int) -> Setup:
    return Setup(
        size=SIZES["8B"],
        num_kv_heads=8,
        vocab_size=128_256,
        sequence_length=8192,
        global_batch_size=rows * chips,
        rope_theta=5e5,
        remat=RematSpec(save="", offload="input|[qkvo]_proj"),
        splash=_TRILLIUM_SPLASH,
        compiler_options=_TRILLIUM_OPTIONS,
    )


def _torchtitan(*, gpus: int, fp8: bool = False) -> Setup:
    return Setup(
        size=SIZES["8B"],
        num_kv_heads=8,
        vocab_size=128_256,
        sequence_length=8192,
        global_batch_size=2 * gpus,
        rope_theta=5e5,
        remat=RematSpec(save="context" if fp8 else "[qv]_proj|context|linear1_0|linear2"),
        fp8=fp8,
    )


SETUPS: Mapping[str, Setup] = {
    # MaxText's default model: nothing of a layer is kept.
    "maxtext-1B": Setup(
        size=_MAXTEXT_1B,
        num_kv_heads=16,
        vocab_size=32_000,
        sequence_length=2048,
        global_batch_size=8,
        rope_theta=1e4,
        remat=RematSpec(save=""),
    ),
    # llama3_1_8b_8192_no_collective_matmul: products are not split to hide what they gather.
    "maxtext-llama3.1-8B-v6e-8": dataclasses.replace(
        _llama3_1_8b(rows=3, chips=8),
        compiler_options=_TRILLIUM_OPTIONS
        | {"xla_jf_spmd_threshold_for_windowed_einsum_mib": 1_000_000},
    ),
    # llama3_1_8b_8192.
    "maxtext-llama3.1-8B": _llama3_1_8b(rows=4, chips=256),
    # llama3_1_70b_8192.
    "maxtext-llama3.1-70B": Setup(
        size=SIZES["70B"],
        num_kv_heads=8,
        vocab_size=128_256,
        sequence_length=8192,
        global_batch_size=5 * 256,
        rope_theta=5e5,
        remat=RematSpec(save="", offload="input|[qkv]_proj"),
        splash=_TRILLIUM_SPLASH,
        compiler_options=_TRILLIUM_OPTIONS,
    ),
    # MaxText's configs/v5p/llama2_70b.sh: 4 rows per chip, save_dot_except_mlpwi. The vocabulary's
    # dim, by which our table is split, divides by 256 alone.
    "maxtext-llama2-70B": Setup(
        size=SIZES["70B"],
        num_kv_heads=8,
        vocab_size=32_000,
        sequence_length=4096,
        global_batch_size=4 * 512,
        rope_theta=1e4,
        remat=RematSpec(save="[qkvo]_proj|linear2"),
        mesh_shape=MeshShape(data=-1, fsdp=256),
        compiler_options={**ASYNC_GATHER, **DATA_PARALLEL, **GATHER_ACROSS_LAYERS},
    ),
    # torchtitan's Llama 3.1 8B: 2 rows per GPU; attention and every second product are kept.
    "torchtitan-llama3.1-8B": _torchtitan(gpus=8),
    # Its benchmarks/llama3_8b_h200_2025-06_torchtitan_trainy_whitefiber.md: in fp8, a scale for a
    # whole operand; products in fp8 are none of those that it keeps.
    "torchtitan-llama3.1-8B-fp8-32": _torchtitan(gpus=32, fp8=True),
    "torchtitan-llama3.1-8B-fp8-64": _torchtitan(gpus=64, fp8=True),
    # Megatron-Bridge 25.11: 128 rows in 16 parts. Its recipe LLAMA3_8B_PRETRAIN_CONFIG_H100_FP8_CS
    # computes 5 of 32 layers again; ours are all alike, so that here every product is kept.
    "megatron-llama3-8B-fp8": Setup(
        size=SIZES["8B"],
        num_kv_heads=8,
        vocab_size=128_256,
        sequence_length=8192,
        global_batch_size=128,
        rope_theta=5e5,
        remat=RematSpec(save="[qkvo]_proj|context|linear1_[01]|linear2"),
        fp8=True,
        accumulation_steps=16,
    ),
    # MaxText's configs/v5e/32b.sh.
    "maxtext-32B-v5e": Setup(
        size=_MAXTEXT_32B,
        num_kv_heads=64,
        vocab_size=32_000,
        sequence_length=2048,
        global_batch_size=4 * 256,
        rope_theta=1e4,
        remat=RematSpec(save=""),
        compiler_options={**ASYNC_GATHER, **DATA_PARALLEL},
    ),
}


def named_trainer_configs() -> dict[str, Callable[[], SpmdTrainer.Config]]:
    """Return {name: function that makes the trainer config}."""
    return {name: setup.config for name, setup in SETUPS.items()}


def mesh_rules() -> tuple[MeshRule, ...]:
    """Return a rule for each that leaves it as it is: its mesh is its own."""
    return tuple(
        MeshRule(
            selector=".*",
            configs=name.replace(".", r"\."),
            modifiers=(),
            golden_selectors=(),
        )
        for name in SETUPS
    )
