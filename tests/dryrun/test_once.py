"""Parts of steps that are traced once: as often as they are called, the program is the same."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from axl_exp.config import Override
from axl_exp.dryrun.once import layers_once, on_any_mesh, quantized_products_once
from axl_exp.dryrun.program import read_program
from axl_exp.mesh import MESH_AXES
from axl_exp.model.quantization import dot_general_qt
from axl_exp.model.summaries import collect_summaries
from axl_exp.model.transformer import TransformerLayer
from axl_exp.resolve import resolve
from axl_exp.train.state import PureModel

BATCH = {
    name: jax.ShapeDtypeStruct((8, 64), jnp.int32)
    for name in ("inputs", "targets", "positions", "segment_ids")
}


def mesh_of(num_devices):
    sizes = [num_devices if axis == "fsdp" else 1 for axis in MESH_AXES]
    types = (AxisType.Auto,) * len(sizes)
    return AbstractMesh(tuple(sizes), MESH_AXES, axis_types=types)


def operations(program):
    """All of a program, in order and in depth."""
    for op in program.ops:
        values = [(v.shape, v.dtype, v.on_host) for v in (*op.inputs, *op.outputs)]
        yield op.name, values
        if op.name in ("scan", "shard_map", "while", "cond"):
            yield from operations(op.body)


def program_of(function, *args, mesh):
    with jax.sharding.use_abstract_mesh(mesh):
        return read_program(jax.make_jaxpr(function)(*args))


def small_model(**overrides):
    changes = [Override(f"model.{path}", text) for path, text in overrides.items()]
    return PureModel(resolve("fuji-test-v3", overrides=changes).config.model)


def gradient_of(model):
    def loss(params, batch):
        return model.bind(params).loss(batch).loss

    return jax.value_and_grad(loss)


@pytest.mark.parametrize("num_devices", [1, 4])
@pytest.mark.parametrize("save", [None, "", "[qkvo]_proj"])
def test_gradients_through_layers_that_are_traced_once_are_the_same_program(num_devices, save):
    of_layer = "decoder.transformer.layer.remat_spec"
    model = small_model(**({} if save is None else {f"{of_layer}.save": repr(save)}))
    programs = []
    for sharing in (contextlib.nullcontext(), layers_once(), layers_once()):
        with sharing:
            gradient = gradient_of(model)
            made = program_of(gradient, model.abstract_params, BATCH, mesh=mesh_of(num_devices))
            programs.append(list(operations(made)))
    plain, first, again = programs
    assert plain == first == again


def test_models_with_equal_layers_trace_them_once_on_a_mesh():
    wide, narrow = small_model(), small_model(**{"decoder.vocab_size": "512"})
    called = TransformerLayer.__call__
    with layers_once(), mock.patch.object(TransformerLayer, "__call__", autospec=True) as layer:
        layer.side_effect = called
        for model, mesh, num_calls in (
            (wide, mesh_of(2), 1),
            (narrow, mesh_of(2), 1),
            (narrow, mesh_of(8), 2),
        ):
            program_of(gradient_of(model), model.abstract_params, BATCH, mesh=mesh)
            assert layer.call_count == num_calls


FP8 = {
    "quantization.forward_dtype": "jnp.float8_e4m3fn",
    "quantization.backward_dtype": "jnp.float8_e5m2",
}


def in_no_order(program):
    """All operations; numbers that JAX knows, such as ones, it makes before a loop or in it."""
    return sorted((name, "" if name == "scan" else str(v)) for name, v in operations(program))


@pytest.mark.parametrize("save", [None, "", "[qkvo]_proj"])
@pytest.mark.parametrize("other", [{}, {"quantization.backward_dtype": "None"}])
def test_quantized_products_that_are_traced_once_are_the_same_program(save, other):
    of_layer = "decoder.transformer.layer.remat_spec"
    model = small_model(
        **{**FP8, **other}, **({} if save is None else {f"{of_layer}.save": repr(save)})
    )
    programs = []
    for sharing in (contextlib.nullcontext(), quantized_products_once()):
        with sharing:
            gradient = gradient_of(model)
            made = program_of(gradient, model.abstract_params, BATCH, mesh=mesh_of(4))
            programs.append(in_no_order(made))
    plain, once = programs
    assert "reduce_max" in dict(plain)
    assert plain == once


def test_quantized_products_are_traced_once_for_all_meshes():
    model = small_model(**FP8, **{"quantization.scale_per": "'tensor'"})
    module = "axl_exp.model.quantization.dot_general_qt"
    with quantized_products_once(), mock.patch(module, side_effect=dot_general_qt) as product:
        counts = []
        for num_devices in (2, 4, 8):
            program_of(gradient_of(model), model.abstract_params, BATCH, mesh=mesh_of(num_devices))
            counts.append(product.call_count)
    # Of a kind for each of seven products, forward and with what it leaves for backward.
    assert 0 < counts[0] <= 14
    assert counts[1:] == counts[:1] * 2


def test_what_layers_tell_of_themselves_is_told_by_each_call():
    feed_forward = "decoder.transformer.layer.feed_forward"
    model = small_model(**{f"{feed_forward}.add_dead_neuron_summary": "True"})

    def told(params, batch):
        with collect_summaries() as summaries:
            model.bind(params).loss(batch)
        return dict(summaries)

    names = set(jax.eval_shape(told, model.abstract_params, BATCH))
    assert names
    with layers_once():
        for _ in range(2):
            assert set(jax.eval_shape(told, model.abstract_params, BATCH)) == names


def test_a_function_without_a_mesh_is_traced_once_for_all_meshes():
    calls = []

    def function(tree, scale):
        calls.append(tree)
        return {"sum": tree["a"] + tree["b"] * scale, "scale": scale}

    once = on_any_mesh(function)
    a = jax.ShapeDtypeStruct((4, 8), jnp.float32)
    args = ({"a": a, "b": a}, jax.ShapeDtypeStruct((), jnp.float32))
    for num_devices in (1, 2, 8):
        found = program_of(once, *args, mesh=mesh_of(num_devices))
        assert [op.name for op in found.ops] == ["mul", "add"]
        assert found.ops[0].inputs == (found.inputs[1], found.inputs[2])
        assert found.outputs == (found.inputs[2], found.ops[1].outputs[0])
    assert len(calls) == 1


def test_a_function_that_is_traced_once_knows_what_lies_on_the_host():
    def function(x):
        waiting = jax.lax.optimization_barrier(x)
        return jax.device_put(waiting, jax.memory.Space.Device) * 2.0

    once = on_any_mesh(function)
    mesh = mesh_of(4)
    for kind in ("device", "pinned_host"):
        sharding = NamedSharding(mesh, PartitionSpec("fsdp"), memory_kind=kind)
        x = jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=sharding)
        barrier, fetch, product = program_of(once, x, mesh=mesh).ops
        assert [barrier.name, fetch.name, product.name] == [
            "optimization_barrier",
            "device_put",
            "mul",
        ]
        assert barrier.outputs[0].on_host == (kind == "pinned_host")
        assert not fetch.outputs[0].on_host
