"""One device equals eight. A flag makes eight of the CPU, so in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

# Prints the loss on one device, and on each mesh the loss and how far the gradients are from those
# of one device, as a share of their norm.
SCRIPT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from axl_exp.mesh import MESH_AXES
from axl_exp.model import CausalLM, param_partition_specs, partition_spec

cfg = CausalLM.default_config().set(z_loss_scale=1e-3)
cfg.decoder.set(vocab_size=64, dim=32)
cfg.decoder.transformer.num_layers = 2
layer = cfg.decoder.transformer.layer
layer.self_attention.attention.num_heads = 4
layer.self_attention.attention.input_linear.input_linear.num_kv_heads = 2
layer.feed_forward.hidden_dim = 48
# What is drawn does not depend on the mesh either.
layer.feed_forward.stochastic_depth.rate = 0.5
graph, params = nnx.split(cfg.instantiate(rngs=nnx.Rngs(0)), nnx.Param)
rng = np.random.default_rng(0)
batch = {
    "inputs": rng.integers(1, 64, (8, 16)),
    "targets": rng.integers(1, 64, (8, 16)),
    "positions": np.tile([*range(9), *range(7)], (8, 1)),
    "segment_ids": np.tile([1] * 9 + [2] * 7, (8, 1)),
}
batch = {name: jnp.asarray(value, jnp.int32) for name, value in batch.items()}

def loss(params, batch):
    return nnx.merge(graph, params).loss(batch, key=jax.random.key(1)).loss

norm = lambda x: float(np.linalg.norm(x))
flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
value_and_grad = jax.value_and_grad(loss)
loss_1, gradients_1 = jax.jit(value_and_grad)(params, batch)
found = {"one": float(loss_1)}
for text in sys.argv[1:]:
    sizes = dict.fromkeys(MESH_AXES, 1) | json.loads(text)
    mesh = jax.make_mesh(tuple(sizes.values()), MESH_AXES, axis_types=(AxisType.Auto,) * 6)
    rules = dict(cfg.logical_axis_rules)
    specs = param_partition_specs(params, rules, mesh_shape=mesh.shape)
    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=is_spec)
    over_batch = NamedSharding(mesh, partition_spec(("batch", "sequence"), rules))
    with jax.set_mesh(mesh):
        step = jax.jit(
            value_and_grad, in_shardings=(shardings, over_batch), out_shardings=(None, shardings)
        )
        lowered = step.lower(params, batch)
        assert "sharding_constraint" in lowered.as_text() or "@Sharding" in lowered.as_text()
        loss_8, gradients_8 = lowered.compile()(
            jax.device_put(params, shardings), jax.device_put(batch, over_batch)
        )
    assert len(loss_8.sharding.device_set) == 8
    difference = flat(gradients_8) - flat(gradients_1)
    found[text] = [float(loss_8), norm(difference) / norm(flat(gradients_1))]
print(json.dumps(found))
"""
# Every axis that splits something is in one of them.
MESHES = [{"data": 2, "seq": 2, "model": 2}, {"expert": 2, "fsdp": 4}]


def test_loss_and_gradients_are_the_same_on_any_mesh_of_eight_devices():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(json.dumps, MESHES)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 1 + len(MESHES)
    for mesh in MESHES:
        loss, gradient_difference = found[json.dumps(mesh)]
        assert loss == pytest.approx(found["one"], rel=1e-6), mesh
        assert gradient_difference < 1e-5, mesh
