"""Shards that are gathered, and gradients that are scattered."""

from __future__ import annotations

import collections
import math
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding

from axl_exp.dryrun.compiled.execution import executions
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.dryrun.compiled.traffic import traffic_of
from axl_exp.mesh import MESH_AXES, parse_selector
from axl_exp.model.embedding import TransformerTextEmbeddings
from axl_exp.model.sharding import DEFAULT_LOGICAL_AXIS_RULES, axis_rules, spec_in_use

# Of whole numbers, so that the order of sums does not show.
ON_SIXTEEN = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from axl_exp.model import gathering

mesh = jax.make_mesh((16, 1), ("fsdp", "model"), axis_types=(AxisType.Auto,) * 2)
rng = np.random.default_rng(0)
for dim in (0, 1):
    spec = P(*((None,) * dim), "fsdp")
    shape = (48, 32)
    x = jnp.asarray(rng.integers(-9, 9, shape), jnp.float32)
    weights = jnp.asarray(rng.integers(-9, 9, (16, *shape)), jnp.float32)
    found = []
    for scatters_twice in (False, True):
        gathering._sums_whole = lambda num_shards: scatters_twice
        def of_shards(x, weights):
            whole = gathering.gather_shards(x, ("fsdp", "model"), dim=dim)
            return jnp.sum(whole**2 * weights)[None]
        def loss(x):
            each = jax.shard_map(of_shards, in_specs=(spec, P("fsdp")), out_specs=P("fsdp"))
            return jnp.sum(each(x, weights))
        with jax.set_mesh(mesh):
            step = jax.jit(jax.value_and_grad(loss))
            program = str(jax.make_jaxpr(step)(x))
            assert program.count("reduce_scatter[") == 1 + scatters_twice
            # What is reordered here, a compiler may reorder in all that it is made of.
            assert "transpose[" not in program
            found.append(step(x))
    (expected, gradient), (total, scattered) = found
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(scattered, gradient)
    np.testing.assert_array_equal(gradient, 2 * x * weights.sum(0))
"""


def test_gradients_scattered_twice_are_those_scattered_once():
    flags = "--xla_force_host_platform_device_count=16"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ON_SIXTEEN], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("selector", ["tpu-v5e-16", "tpu-v6e-16", "tpu-v5e-256"])
def test_a_tied_tables_gradient_is_scattered_and_not_summed_whole(selector):
    pytest.importorskip("libtpu")
    prepare_environment()
    devices = devices_of(topology_of(parse_selector(selector)))
    num_devices, dim, length = len(devices), 256, 128
    vocab = 512 * num_devices
    sizes = dict.fromkeys(MESH_AXES, 1) | {"fsdp": num_devices}
    mesh = jax.make_mesh(
        tuple(sizes.values()), MESH_AXES, devices=devices, axis_types=(AxisType.Auto,) * len(sizes)
    )
    cfg = TransformerTextEmbeddings.default_config()

    def make_table() -> nnx.Module:
        return cfg.instantiate(vocab_size=vocab, dim=dim, dropout_rate=0.0, rngs=nnx.Rngs(0))

    graph, state = nnx.split(nnx.eval_shape(make_table))

    def loss(state, tokens_BS):
        with axis_rules(DEFAULT_LOGICAL_AXIS_RULES):
            table: Any = nnx.merge(graph, state)
            logits = table.attend(jnp.tanh(table(tokens_BS)))
            return jnp.sum(jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1))

    with jax.set_mesh(mesh), axis_rules(DEFAULT_LOGICAL_AXIS_RULES):
        of_table = NamedSharding(mesh, spec_in_use("vocab", "vocab_embed"))
        of_tokens = NamedSharding(mesh, spec_in_use("batch", "sequence"))
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=of_table), state
        )
        tokens = jax.ShapeDtypeStruct((num_devices, length), jnp.int32, sharding=of_tokens)
        compiled = jax.jit(jax.grad(loss), out_shardings=of_table).lower(state, tokens).compile()
    program = parse_program(compiled.as_text() or "")
    moved = collections.defaultdict(list)
    for each in traffic_of(program, executions(program)):
        moved[each.communication.kind].append(each.communication.num_bytes)
    table_bytes = 2 * vocab * dim
    # In two stages, the first of which is padded.
    scattered = table_bytes * (1 + 1 / math.isqrt(num_devices))
    assert "all-reduce" not in moved
    assert moved["all-gather"] == [table_bytes]
    assert len(moved["reduce-scatter"]) == 2
    assert scattered <= sum(moved["reduce-scatter"]) <= 1.02 * scattered
