"""What is moved to where a compiler computes it."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from axl_exp.dryrun.order import in_compiled_order
from axl_exp.dryrun.program import read_program

ROWS, DIM = 64, 32


def _assert_runs(program):
    """Every operation, those of bodies too, finds what it reads."""
    made = set(program.inputs)
    for op in program.ops:
        assert all(v in made or v.is_constant for v in op.inputs)
        made |= set(op.outputs)
        if op.name == "shard_map":
            assert len(op.body.inputs) == len(op.inputs) == len(op.params["in_specs"])
            assert len(op.body.outputs) == len(op.outputs) == len(op.params["out_specs"])
            _assert_runs(op.body)


def _products(op):
    """The products that an operation is or has in it."""
    inside = op.body.ops if op.name == "shard_map" else [op]
    return sum(inner.name == "dot_general" for inner in inside)


def _gradient_of_a_table_that_is_read_at_both_ends(head):
    """Its program; the head is a product of its own way."""

    def loss(table, x):
        hidden = jnp.tanh(x @ table)
        return jnp.sum(jnp.sin(head(hidden, table)))

    args = jnp.zeros((DIM, DIM)), jnp.zeros((ROWS, DIM))
    return read_program(jax.make_jaxpr(jax.grad(loss))(*args))


@pytest.mark.parametrize("per_device", [False, True])
def test_a_product_that_is_added_to_something_waits_for_it(per_device):
    """The gradient of the table at the end is not made before that at the start."""
    mesh = AbstractMesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def head(hidden, table):
        return hidden @ table.T

    if per_device:
        rows = PartitionSpec("data")
        specs = {"in_specs": (rows, PartitionSpec()), "out_specs": rows}
        head = jax.shard_map(head, mesh=mesh, check_vma=False, **specs)
    program = _gradient_of_a_table_that_is_read_at_both_ends(head)
    moved = in_compiled_order(program)
    _assert_runs(moved)
    assert sum(map(_products, moved.ops)) == sum(map(_products, program.ops)) == 5
    at = max(i for i, op in enumerate(moved.ops) if op.name == "add_any")
    assert moved.ops[at].outputs[0].shape == (DIM, DIM)
    assert sum(map(_products, moved.ops[at - 5 : at])) == 2
    at = program.ops.index(moved.ops[at])
    assert sum(map(_products, program.ops[at - 5 : at])) == 1


def test_a_program_per_device_whose_gradients_are_made_together_stays_whole():
    mesh = AbstractMesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def head(hidden, table):
        return jnp.sin(hidden @ table.T)  # Both gradients need the cosine's part.

    rows = PartitionSpec("data")
    specs = {"in_specs": (rows, PartitionSpec()), "out_specs": rows}
    head = jax.shard_map(head, mesh=mesh, check_vma=False, **specs)
    program = _gradient_of_a_table_that_is_read_at_both_ends(head)
    assert in_compiled_order(program).ops == program.ops


@pytest.mark.parametrize("other_axis", [False, True])
def test_two_gradients_of_a_table_are_added_before_they_are_scattered_over_the_same_axis(
    other_axis,
):
    mesh = AbstractMesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    rows = PartitionSpec("data")

    def reading(axis):
        def of_shards(x, table):
            return x @ jax.lax.all_gather(table, axis, axis=0, tiled=True)

        specs = {"in_specs": (rows, PartitionSpec(axis)), "out_specs": rows}
        return jax.shard_map(of_shards, mesh=mesh, check_vma=False, **specs)

    def loss(table, x):
        hidden = reading("model" if other_axis else "data")(x, table)
        return jnp.sum(reading("data")(jnp.tanh(hidden), table))

    args = jnp.zeros((DIM, DIM)), jnp.zeros((ROWS, DIM))
    program = in_compiled_order(read_program(jax.make_jaxpr(jax.grad(loss))(*args)))
    _assert_runs(program)
    inside = [inner.name for op in program.ops if op.name == "shard_map" for inner in op.body.ops]
    assert inside.count("reduce_scatter") == (2 if other_axis else 1)
    assert sum(map(_products, program.ops)) == 5
    assert program.ops[-1].name == ("add_any" if other_axis else "shard_map")
