"""What a mesh that splits rows and units makes of the products of a layer."""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from axl_exp.dryrun.layout import Mesh
from axl_exp.dryrun.program import read_program
from axl_exp.dryrun.walk import walk

MESH = Mesh({"fsdp": 4, "model": 2})
JAX_MESH = AbstractMesh((4, 2), ("fsdp", "model"), axis_types=(AxisType.Auto,) * 2)
ROWS, DIM, HIDDEN, HEADS = 64, 32, 128, 8
VECTORS = (("fsdp",), ("model",))  # Of rows: as between layers, each device has a part of both.
BYTES = 4


def follow(function, *args, specs):
    program = read_program(jax.make_jaxpr(function)(*args))
    return walk(program, specs, wanted=[VECTORS], mesh=MESH)


def moved(found):
    return sorted((move.kind, move.axes, move.num_bytes * count) for move, count in found.moves)


def test_two_products_of_units_split_over_an_axis_gather_vectors_before_and_scatter_them_after():
    """Shoeybi et al. 2019, arXiv:1909.08053, with vectors split between: of the hidden units each
    device makes its own, whole; no sum of them is ever sent. Weights are gathered over fsdp."""

    def feed_forward(x, up, down):
        hidden = jax.lax.with_sharding_constraint(
            x @ up, NamedSharding(JAX_MESH, PartitionSpec("fsdp", "model"))
        )
        return jnp.tanh(hidden) @ down

    args = jnp.zeros((ROWS, DIM)), jnp.zeros((DIM, HIDDEN)), jnp.zeros((HIDDEN, DIM))
    specs = [VECTORS, (("fsdp",), ("model",)), (("model",), ("fsdp",))]
    found = follow(feed_forward, *args, specs=specs)
    vectors, weight = ROWS // 4 * DIM * BYTES, DIM * HIDDEN // 2 * BYTES
    assert moved(found) == [
        ("all-gather", ("fsdp",), weight),
        ("all-gather", ("fsdp",), weight),
        ("all-gather", ("model",), vectors),
        ("reduce-scatter", ("model",), vectors),
    ]
    assert sum(work.flops for work in found.work) == 2 * 2 * ROWS * DIM * HIDDEN / 8


def test_heads_that_a_program_per_device_takes_split_are_made_split_however_they_are_turned():
    """Rotary positions take each head apart into pairs and stack it again."""
    heads_split = PartitionSpec("fsdp", "model")

    def attend(x, weight):
        pairs = jnp.einsum("bd,dnh->bnh", x, weight).reshape(ROWS, HEADS, -1, 2)
        turned = jnp.stack((-pairs[..., 1], pairs[..., 0]), axis=-1)
        heads = turned.reshape(ROWS, HEADS, -1)
        per_device = jax.shard_map(
            jnp.tanh, mesh=JAX_MESH, in_specs=heads_split, out_specs=heads_split, check_vma=False
        )
        return jnp.einsum("bnh,dnh->bd", per_device(heads), weight)

    weight = jnp.zeros((DIM, HEADS, HIDDEN // HEADS))
    specs = [VECTORS, (("fsdp",), ("model",), ())]
    found = follow(attend, jnp.zeros((ROWS, DIM)), weight, specs=specs)
    vectors = ROWS // 4 * DIM * BYTES
    assert moved(found) == [
        ("all-gather", ("fsdp",), DIM * HIDDEN // 2 * BYTES),
        ("all-gather", ("model",), vectors),
        ("reduce-scatter", ("model",), vectors),
    ]


def test_what_a_program_per_device_returns_is_held_once_and_communication_with_nobody_is_nothing():
    """A head hands on the table that it gathered, for the backward pass."""
    alone = Mesh({"fsdp": 8, "model": 1})
    mesh = AbstractMesh((8, 1), ("fsdp", "model"), axis_types=(AxisType.Auto,) * 2)

    def head(x, table):
        table = jax.lax.all_gather(table, "fsdp", axis=0, tiled=True)
        table = jax.lax.all_to_all(table, "model", 0, 1, tiled=True)
        return x @ table.T, table

    rows = PartitionSpec("fsdp")
    per_device = jax.shard_map(
        head, mesh=mesh, in_specs=(rows, rows), out_specs=(rows, rows), check_vma=False
    )
    args = jnp.zeros((ROWS, DIM)), jnp.zeros((HIDDEN, DIM))
    specs = [(("fsdp",), ())] * 2
    program = read_program(jax.make_jaxpr(per_device)(*args))
    found = walk(program, specs, wanted=[None, None], mesh=alone)
    table = HIDDEN * DIM * BYTES
    assert moved(found) == [("all-gather", ("fsdp",), table)]
    assert found.peak_bytes == table + ROWS // 8 * HIDDEN * BYTES
