"""How long queries, keys and values take around their attention on TPUs: no TPU is needed.

`python -m tools.bench.qkv` compiles what makes them of 2 x 4096 tokens - products, rotation, and
the order in which a kernel reads them - with its gradients, for one chip of each kind: ours beside
the same by hand (one product, neighbours turned unit by unit). Products take the cycles that libtpu
states, passes over memory their bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.execution import executions
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.mesh import HardwareSelector, parse_selector
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.qkv import FusedGroupedQKVLinear, RoFormerQKVLinear
from axl_exp.report.terminal import make_console, make_table
from tools.bench.one_tpu import array_on, parse_flags

# dim, num_heads, num_kv_heads, head_dim
_CASES = {"7B": (4096, 32, 32, 128), "8B": (4096, 32, 8, 128), "1B": (2048, 32, 8, 64)}
_BATCH, _LENGTH = 2, 4096

Heads = tuple[jax.Array, jax.Array, jax.Array]


def main() -> int:
    """Print a table, a row per kind of TPU and case; returns the exit code."""
    flags = parse_flags("qkv", __doc__, _CASES)
    prepare_environment()
    rows = []
    for hardware in map(parse_selector, flags.mesh):
        for case in flags.case:
            ours, by_hand = (_seconds(hardware, side, *_CASES[case]) for side in (_ours, _by_hand))
            times = (f"{by_hand * 1e6:.0f}", f"{ours * 1e6:.0f}", f"{ours / by_hand:.2f}")
            rows.append((str(hardware), case, *times))
    headers = ("hardware", "shape", "by hand", "ours", "ratio")
    console = make_console()
    console.print(make_table(*headers, rows=rows, right=(2, 3, 4)))
    console.print("microseconds, forward and backward")
    return 0


def _ours(dim: int, num_heads: int, num_kv_heads: int, head_dim: int) -> Callable[..., Heads]:
    cfg = RoFormerQKVLinear.default_config()
    cfg.input_linear = FusedGroupedQKVLinear.default_config().set(num_kv_heads=num_kv_heads)
    layer = nnx.eval_shape(
        lambda: cfg.instantiate(
            dim=dim,
            num_heads=num_heads,
            head_dim=head_dim,
            param_init=DefaultInitializer.default_config().instantiate(),
            rngs=nnx.Rngs(0),
        )
    )
    graph, state = nnx.split(layer)
    structure = jax.tree.structure(state)

    def heads(x_BSD: jax.Array, weight_DNH: jax.Array, positions_BS: jax.Array) -> Heads:
        made = nnx.merge(graph, jax.tree.unflatten(structure, [weight_DNH]))
        return tuple(made(x_BSD, positions_BS=positions_BS))

    return heads


def _by_hand(dim: int, num_heads: int, num_kv_heads: int, head_dim: int) -> Callable[..., Heads]:
    del dim

    def heads(x_BSD: jax.Array, weight_DNH: jax.Array, positions_BS: jax.Array) -> Heads:
        all_heads = jnp.einsum("BSD,DNH->BSNH", x_BSD, weight_DNH)
        query, key, value = jnp.split(all_heads, [num_heads, num_heads + num_kv_heads], axis=2)
        frequencies = 10000.0 ** -(jnp.arange(0, head_dim, 2) / head_dim)
        angles = (positions_BS[..., None] * frequencies)[:, :, None]

        def turned(x: jax.Array) -> jax.Array:
            pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
            first, second = pairs[..., 0], pairs[..., 1]
            sin, cos = jnp.sin(angles), jnp.cos(angles)
            both = jnp.stack((first * cos - second * sin, first * sin + second * cos), axis=-1)
            return both.reshape(x.shape).astype(x.dtype)

        return turned(query), turned(key), value

    return heads


def _seconds(
    hardware: HardwareSelector, side: Callable[..., Callable[..., Heads]], *sizes: int
) -> float:
    """Return the time of one side's heads and of their gradients."""
    dim, num_heads, num_kv_heads, head_dim = sizes
    make_heads = side(*sizes)

    def forward_and_backward(x_BSD: Any, weight_DNH: Any, positions_BS: Any, gradients: Any) -> Any:
        def as_kernels_read(x_BSD: jax.Array, weight_DNH: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(h.swapaxes(1, 2) for h in make_heads(x_BSD, weight_DNH, positions_BS))

        out, backward = jax.vjp(as_kernels_read, x_BSD, weight_DNH)
        return out, backward(gradients)

    topology = topology_of(hardware)
    device = devices_of(topology)[0]
    gradients = tuple(
        array_on(device, _BATCH, number, _LENGTH, head_dim)
        for number in (num_heads, num_kv_heads, num_kv_heads)
    )
    weight = array_on(device, dim, num_heads + 2 * num_kv_heads, head_dim)
    positions = array_on(device, _BATCH, _LENGTH, dtype=jnp.int32)
    mesh = jax.sharding.Mesh([device], ("data",))
    with jax.set_mesh(mesh):
        lowered = jax.jit(forward_and_backward).lower(
            array_on(device, _BATCH, _LENGTH, dim), weight, positions, gradients
        )
    program = parse_program(lowered.compile().as_text() or "")
    assert hardware.chip is not None
    costs = Costs(program, hardware.chip, {})
    return sum(
        costs.seconds(each.computation, each.instruction) * each.times
        for each in executions(program)
        if each.is_issued
    )


if __name__ == "__main__":
    sys.exit(main())
