"""What the analysis finds in programs whose needs can be written down."""

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from axl_exp.dryrun.layout import Mesh, whole
from axl_exp.dryrun.program import read_program
from axl_exp.dryrun.rows import kernel_rows
from axl_exp.dryrun.walk import walk

MESH = Mesh({"data": 2, "fsdp": 4})
ROWS, DIM, HIDDEN, LAYERS = 64, 32, 128, 6
BATCH = (("data", "fsdp"), ())
SPLIT = (("fsdp",), ())


def follow(function, *args, specs, wanted, reused=frozenset()):
    program = read_program(jax.make_jaxpr(function)(*args))
    return walk(program, specs, wanted=wanted, mesh=MESH, reused=reused)


def moved(found):
    """(kind, axes) -> (how often, bytes)."""
    totals = {}
    for move, count in found.moves:
        times, num_bytes = totals.get((move.kind, move.axes), (0, 0))
        totals[move.kind, move.axes] = (times + count, num_bytes + count * move.num_bytes)
    return totals


def test_a_product_with_a_split_weight_gathers_it_and_divides_the_work():
    x, weight = jnp.zeros((ROWS, DIM)), jnp.zeros((DIM, HIDDEN))
    found = follow(jnp.dot, x, weight, specs=[BATCH, SPLIT], wanted=[BATCH])
    assert found.outputs == [BATCH]
    assert moved(found) == {("all-gather", ("fsdp",)): (1, DIM * HIDDEN * 4)}
    assert sum(work.flops for work in found.work) == 2 * ROWS * DIM * HIDDEN / 8
    # The gathered weight, and the output of this device.
    assert found.peak_bytes == DIM * HIDDEN * 4 + ROWS * HIDDEN * 4 // 8


def test_the_gradient_of_a_split_weight_is_scattered_over_its_axis_and_summed_over_the_others():
    def gradient(x, weight):
        return jax.grad(lambda w: jnp.sum(jnp.tanh(x @ w)))(weight)

    x, weight = jnp.zeros((ROWS, DIM)), jnp.zeros((DIM, HIDDEN))
    found = follow(gradient, x, weight, specs=[BATCH, SPLIT], wanted=[SPLIT])
    assert found.outputs == [SPLIT]
    sizes = moved(found)
    assert sizes["reduce-scatter", ("fsdp",)] == (1, DIM * HIDDEN * 4)
    assert sizes["all-reduce", ("data",)] == (1, DIM * HIDDEN * 4 // 4)


def test_heads_split_over_an_axis_are_summed_once_after_the_second_product():
    mesh = Mesh({"model": 4})

    def two(x, first, second):
        return (x @ first) @ second

    args = (jnp.zeros((ROWS, DIM)), jnp.zeros((DIM, HIDDEN)), jnp.zeros((HIDDEN, DIM)))
    program = read_program(jax.make_jaxpr(two)(*args))
    specs = [whole(2), ((), ("model",)), (("model",), ())]
    found = walk(program, specs, wanted=[None], mesh=mesh)
    ((move, count),) = found.moves
    assert (move.kind, move.axes, count) == ("all-reduce", ("model",), 1)
    assert move.num_bytes == ROWS * DIM * 4
    assert sum(work.flops for work in found.work) == 2 * 2 * ROWS * DIM * HIDDEN / 4


@pytest.mark.parametrize(("policy", "num_kept"), [("everything", 2), ("nothing", 1)])
def test_a_loop_keeps_for_its_backward_pass_what_its_policy_says(policy, num_kept):
    """Of x -> sin(x @ w): the input of each turn; and the cosine where it is not made again."""

    def body(x, w):
        return jnp.sin(x @ w), None

    if policy == "nothing":
        body = jax.checkpoint(body, prevent_cse=False)

    def loss(weights, x):
        return jnp.sum(jax.lax.scan(body, x, weights)[0])

    weights, x = jnp.zeros((LAYERS, DIM, DIM)), jnp.zeros((ROWS, DIM))
    found = follow(jax.grad(loss), weights, x, specs=[whole(3), BATCH], wanted=[whole(3)])
    kept = [b.num_bytes for b in found.peak if b.value.shape == (LAYERS, ROWS, DIM)]
    assert kept == [LAYERS * ROWS * DIM * 4 // 8] * num_kept


def test_chains_of_elementwise_operations_take_no_memory_between():
    def chain(x):
        return jnp.sum(jnp.exp(x) * 2 + jnp.sin(x))

    found = follow(chain, jnp.zeros((ROWS, DIM)), specs=[whole(2)], wanted=[None])
    assert found.peak_bytes <= 8  # The sum.


def test_a_state_that_is_written_where_it_was_takes_no_memory():
    state = jnp.zeros((ROWS, DIM))
    found = follow(
        lambda s: s * 2, state, specs=[whole(2)], wanted=[whole(2)], reused=frozenset([0])
    )
    assert found.peak_bytes == 0


def test_a_constraint_that_moves_an_axis_to_another_dim_is_an_all_to_all():
    mesh = AbstractMesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(None, "fsdp"))

    def move(x):
        return jax.lax.with_sharding_constraint(x, sharding)

    with jax.sharding.use_abstract_mesh(mesh):
        found = follow(move, jnp.zeros((ROWS, DIM)), specs=[SPLIT], wanted=[None])
    assert moved(found) == {("all-to-all", ("fsdp",)): (1, ROWS * DIM * 4 // 4)}


@pytest.mark.parametrize("num_parts", [1, 4])
def test_what_is_offloaded_is_in_the_hosts_memory_once_and_goes_there_and_back_each_time(num_parts):
    """Parts of a batch one after the other, as accumulation takes them, share that memory."""
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["product"],
        offload_src="device",
        offload_dst="pinned_host",
    )

    def body(x, w):
        return jnp.sin(checkpoint_name(x @ w, "product")), None

    def loss(weights, x):
        return jnp.sum(jax.lax.scan(jax.checkpoint(body, policy=policy), x, weights)[0])

    def of_parts(weights, parts):
        def add(total, x):
            return total + jax.grad(loss)(weights, x), None

        return jax.lax.scan(add, jnp.zeros_like(weights), parts)[0]

    weights, parts = jnp.zeros((LAYERS, DIM, DIM)), jnp.zeros((num_parts, ROWS, DIM))
    specs = [whole(3), ((), *BATCH)]
    found = follow(of_parts, weights, parts, specs=specs, wanted=[whole(3)])
    offloaded = LAYERS * ROWS * DIM * 4 // 8
    assert found.host_bytes == offloaded
    assert found.host_traffic_bytes == 2 * num_parts * offloaded
    # While a turn computes, the product that the next one reads is on its way.
    copies = [b for b in found.peak if b.is_moved]
    in_flight = [b.num_bytes for b in copies if b.op and b.op.name == "device_put"]
    assert in_flight == [offloaded // LAYERS]


def test_a_chain_of_elementwise_operations_writes_over_what_nobody_else_reads():
    def twice(x, weight):
        return jnp.exp(x @ weight) + 1

    x, weight = jnp.zeros((ROWS, DIM)), jnp.zeros((DIM, DIM))
    found = follow(twice, x, weight, specs=[whole(2), whole(2)], wanted=[whole(2)])
    assert found.peak_bytes == ROWS * DIM * 4  # Of the product, where the result is too.


def _double(x):
    def kernel(x_ref, out_ref):
        out_ref[...] = 2 * x_ref[...]

    return pl.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))(x)


def test_what_a_kernel_reads_lies_in_rows_of_whole_tiles_back_to_the_product_that_made_it():
    """64 wide heads in rows of 128 lanes: twice the bytes. What is not a kernel's has no gaps."""

    def step(x, weight):
        heads = jnp.einsum("sd,dnh->snh", x, weight)
        return jnp.sum(_double(heads.swapaxes(0, 1))) + jnp.sum(_double(jnp.sin(heads[:, :1])))

    x, weight = jnp.zeros((256, 128)), jnp.zeros((128, 2, 64))
    program = read_program(jax.make_jaxpr(step)(x, weight))
    rows = kernel_rows(program)
    assert {v.shape for v in rows} == {(256, 2, 64), (2, 256, 64), (256, 1, 64)}
    assert not rows & set(program.inputs)
    heads = next(v for v in rows if v.shape == (256, 2, 64))
    mesh = Mesh({}, lanes=128)
    assert mesh.local_bytes(heads, whole(3), in_rows=True) == 2 * 256 * 128 * 4
    assert mesh.local_bytes(heads, whole(3)) == 2 * 256 * 64 * 4


def test_what_comes_of_constants_alone_has_no_memory_on_a_tpu():
    """A bias of distances and slopes that every turn of a loop adds."""
    slopes = jnp.asarray(range(8), jnp.float32)
    size = 256

    def biased(x):
        index = jnp.arange(size)
        distance = (index[:, None] - index[None, :]).astype(jnp.float32)
        bias = -slopes[:, None, None] * distance
        return jax.lax.scan(lambda x, _: (jnp.tanh(x + bias), None), x, length=4)[0]

    x = jax.ShapeDtypeStruct((8, size, size), jnp.float32)
    program = read_program(jax.make_jaxpr(biased)(x))
    constants = frozenset(program.inputs[:-1])
    assert constants
    specs = [whole(len(value.shape)) for value in program.inputs]
    on_gpu, on_tpu = (
        walk(program, specs, wanted=[None], mesh=Mesh({}, lanes=lanes), made=constants).peak_bytes
        for lanes in (1, 128)
    )
    assert on_gpu - on_tpu == 8 * size * size * 4
