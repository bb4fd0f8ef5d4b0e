"""Kernels of a compiled program, compiled by themselves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
)

from axl_exp.dryrun.compiled import lone_kernels
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.kernel_schedule import KernelSchedule
from axl_exp.dryrun.compiled.lone_kernels import schedules_of
from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.mesh import parse_selector

_HEADS, _LENGTH, _BLOCK, _DIM = 64, 8192, 256, 128


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    return tmp_path


def _program(topology):
    """Return a compiled program with the same kernel twice, among products."""
    prepare_environment()
    causal = splash_attention_mask.CausalMask((_LENGTH, _LENGTH))
    attend = splash_attention_kernel.make_splash_mha_single_device(
        splash_attention_mask.MultiHeadMask([causal] * _HEADS),
        block_sizes=splash_attention_kernel.BlockSizes(
            block_q=_BLOCK, block_kv=_BLOCK, block_kv_compute=_BLOCK
        ),
    )

    def twice(x):
        y = attend(x, x, x) @ x[0, :_DIM]
        return attend(y, y, x)

    sharding = jax.sharding.SingleDeviceSharding(devices_of(topology)[0])
    x = jax.ShapeDtypeStruct((_HEADS, _LENGTH, _DIM), jnp.bfloat16, sharding=sharding)
    return parse_program(jax.jit(twice).lower(x).compile().as_text() or "")


def test_a_kernel_alone_has_the_schedule_that_it_has_in_the_program(monkeypatch, _home):
    pytest.importorskip("libtpu")
    topology = topology_of(parse_selector("tpu-v5e-1"))
    program = _program(topology)
    compiled = []

    def known(**options):
        return schedules_of(
            program, topology, options=options, on_compile=lambda: compiled.append(options)
        )

    schedules = known()
    assert len(schedules) == 2
    first, second = schedules.values()
    assert first == second
    assert first.num_steps == _HEADS * (_LENGTH // _BLOCK) ** 2
    # What libtpu 0.0.42.1 wrote when it compiled the whole program: there the tables of the mask
    # are at hand, which takes 15 bundles of a step less. Another version may need others.
    recorded = KernelSchedule(num_steps=65_536, every_step=226, skipped=(519, 215, 102))
    assert first.skipped == recorded.skipped
    assert first.cycles() == pytest.approx(recorded.cycles(), rel=0.02)
    # Its products alone take 4 units of 128 x 128 so long.
    flops = 2 * 2 * _HEADS * _LENGTH**2 * _DIM
    assert first.cycles() > flops / (4 * 2 * 128**2)
    # They were compiled once, and are kept.
    assert len(list((_home / "dryrun" / "programs").iterdir())) == 1
    monkeypatch.setattr(lone_kernels, "_CHILD", "raise SystemExit(1)")
    assert known() == schedules
    assert known(another="option") == {}
    assert compiled == [{}, {"another": "option"}]
