"""How long the kernels of splash attention take, by libtpu's schedules: no TPU is needed.

`python -m tools.bench.splash` compiles one sequence of 8 query and 2 key/value heads, with
segments, forward and backward, for each kind of TPU and several ways to divide it. Backward
includes what passes over memory, such as the sum over parts that the fused kernel leaves.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.hlo import Program, parse_program
from axl_exp.dryrun.compiled.lone_kernels import schedules_of
from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.mesh import HardwareSelector, parse_selector
from axl_exp.model.attention_backend import SplashSpec
from axl_exp.model.attention_splash import splash_attention
from axl_exp.model.qkv import QKV
from axl_exp.report.terminal import make_console, make_table
from tools.bench.one_tpu import array_on, parse_flags

_NUM_HEADS, _NUM_KV_HEADS = 8, 2
_CASES: dict[str, dict[str, Any]] = {
    "4096 x 64": {"sequence_length": 4096, "head_dim": 64},
    "4096 x 128": {"sequence_length": 4096, "head_dim": 128},
    "8192 x 128": {"sequence_length": 8192, "head_dim": 128},
    "8192 x 128, capped": {"sequence_length": 8192, "head_dim": 128, "logit_cap": 30.0},
}


def _blocks(size: int, *, fused: bool) -> SplashSpec:
    return SplashSpec(
        block_q=size,
        block_kv=size,
        block_q_backward=size,
        block_kv_backward=size,
        block_kv_compute=512,
        fused_backward=fused,
    )


_SPECS = {
    "chosen": SplashSpec(),
    "1024, fused": _blocks(1024, fused=True),
    "1024, two kernels": _blocks(1024, fused=False),
    "512, fused": _blocks(512, fused=True),
    "512, two kernels": _blocks(512, fused=False),
}


def main() -> int:
    """Print a table, a row per kind of TPU, case and way; returns the exit code."""
    flags = parse_flags("splash", __doc__, _CASES)
    prepare_environment()
    rows = [
        (str(hardware), case, name, *_times(hardware, spec, **_CASES[case]))
        for hardware in map(parse_selector, flags.mesh)
        for case, (name, spec) in itertools.product(flags.case, _SPECS.items())
    ]
    headers = ("hardware", "length x head dim", "blocks", "forward", "backward", "together")
    console = make_console()
    console.print(make_table(*headers, rows=rows, right=(3, 4, 5)))
    console.print("microseconds; '-' does not fit into the vector memory")
    return 0


def _times(hardware: HardwareSelector, spec: SplashSpec, **case: Any) -> Iterator[str]:
    """Yield forward, backward and together in microseconds, as text."""
    topology = topology_of(hardware)
    try:
        program = _compiled(devices_of(topology)[0], spec, **case)
    except jax.errors.JaxRuntimeError as error:
        if "vmem" not in str(error):
            raise
        yield from ("-", "-", "-")
        return
    schedules = schedules_of(program, topology, options={}, on_compile=lambda: None)
    assert hardware.chip is not None
    forward, backward = _seconds(program, Costs(program, hardware.chip, schedules))
    yield from (f"{each * 1e6:.0f}" for each in (forward, backward, forward + backward))


def _seconds(program: Program, costs: Costs) -> tuple[float, float]:
    forward = backward = 0.0
    for instruction in program.entry.instructions:
        seconds = costs.seconds(program.entry, instruction)
        if "_fwd" in instruction.op_name:
            forward += seconds
        else:
            backward += seconds
    return forward, backward


def _compiled(
    device: Any,
    spec: SplashSpec,
    *,
    sequence_length: int,
    head_dim: int,
    logit_cap: float | None = None,
) -> Program:
    def forward_and_backward(qkv: QKV, segment_ids: jax.Array, gradient: jax.Array) -> Any:
        def attend(qkv: QKV) -> jax.Array:
            return splash_attention(qkv, segment_ids, spec=spec, logit_cap=logit_cap)

        out, backward = jax.vjp(attend, qkv)
        return out, backward(gradient)

    query, key = (
        array_on(device, 1, sequence_length, number, head_dim)
        for number in (_NUM_HEADS, _NUM_KV_HEADS)
    )
    segment_ids = array_on(device, 1, sequence_length, dtype=jnp.int32)
    lowered = jax.jit(forward_and_backward).lower(QKV(query, key, key), segment_ids, query)
    return parse_program(lowered.compile().as_text() or "")


if __name__ == "__main__":
    sys.exit(main())
