"""What fits, and what the refusal says."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from axl_exp.mesh import MeshShape
from axl_exp.train.devices import make_mesh
from axl_exp.train.memory import (
    DoesNotFitError,
    StepMemory,
    available_host_bytes,
    bytes_per_device,
    check_fits,
    compiled_bytes,
)

_GIB = 2**30


def test_what_is_needed_is_the_greater_of_the_floor_and_the_compilers_count():
    floor = StepMemory(params_bytes=4, opt_state_bytes=8, gradients_bytes=4)
    assert floor.needed_bytes == 16
    assert StepMemory(4, 8, 4, compiled_bytes=20).needed_bytes == 20
    assert StepMemory(4, 8, 4, compiled_bytes=10).needed_bytes == 16


def test_the_copy_that_a_checkpoint_is_written_from_comes_on_top():
    assert StepMemory(4, 8, 4, compiled_bytes=20, checkpoint_copy_bytes=12).needed_bytes == 32


def test_bytes_per_device_counts_one_shard():
    mesh = make_mesh(MeshShape(data=-1), jax.devices()[:1])
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    tree = {"a": jax.ShapeDtypeStruct((8, 2), jnp.float32, sharding=sharding)}
    assert bytes_per_device(tree) == 8 * 2 * 4


def test_the_compilers_count_of_a_known_program():
    """a @ b of float32 [256, 256]: two arguments and a result, 256 KiB each."""
    leaf = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    compiled = jax.jit(jnp.matmul).lower(leaf, leaf).compile()
    count = compiled_bytes(compiled)
    assert count is not None
    assert 3 * 2**18 <= count <= 4 * 2**18


def test_a_run_that_fits_passes():
    check_fits(
        StepMemory(_GIB, 2 * _GIB, _GIB),
        available=4 * _GIB,
        config="fuji-1B",
        num_devices=1,
        platform="cpu",
    )


def test_the_refusal_says_what_is_needed_what_there_is_and_three_ways_on():
    with pytest.raises(DoesNotFitError) as caught:
        check_fits(
            StepMemory(25 * _GIB, 50 * _GIB, 25 * _GIB, compiled_bytes=103 * _GIB),
            available=21 * _GIB,
            config="fuji-7B-v2",
            num_devices=1,
            platform="cpu",
        )
    assert str(caught.value) == (
        "fuji-7B-v2 does not fit: this machine would need 103 GiB (parameters 25.0 GiB, optimizer "
        "state 50.0 GiB, gradients 25.0 GiB, activations and temporaries 3.00 GiB) and has 21.0 "
        "GiB to give. Ways on: (1) a smaller model, such as --config=fuji-tiny; (2) fewer layers, "
        "--config.model.decoder.transformer.num_layers=2; (3) hardware with 103 GiB in all, over "
        "which its mesh rule shards the run."
    )


def test_this_hosts_memory_is_known_and_less_than_it_has():
    available = available_host_bytes()
    if available is None:
        pytest.skip("this system does not say how much memory is available")
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    assert 0 < available <= total
