"""How a model that may be larger than a device lies on all of them while it goes on with texts."""

import math

from jax.sharding import Mesh

from axl_exp.mesh import MeshShape
from axl_exp.model.sharding import ShardingError, check_divides, partition_spec
from axl_exp.train.devices import Devices, make_mesh
from axl_exp.train.state import PureModel


def place(model: PureModel, devices: Devices) -> Mesh:
    """Return the mesh with as many devices along `model` as the model divides by, the rest `fsdp`.

    Along `model` each device multiplies by its own weights and keeps its own heads' cache; along
    `fsdp` it keeps a shard of each weight and gathers it at every token, and has its own rows.

    Raises:
        ShardingError: The model divides over the devices in no such way.
    """
    error: ShardingError | None = None
    for size in range(len(devices), 0, -1):
        if len(devices) % size:
            continue
        mesh = make_mesh(MeshShape(model=size, fsdp=-1), devices)
        try:
            _check(model, mesh)
        except ShardingError as refused:
            error = error or refused
        else:
            return mesh
    assert error is not None
    raise error


def _check(model: PureModel, mesh: Mesh) -> None:
    model.param_shardings(mesh)
    decoder = model.abstract.decoder
    num_kv_heads = decoder.transformer.layer.self_attention.attention.i_proj.num_kv_heads
    vocab_size, dim = decoder.emb.token_emb.weight.shape
    for name, size, logical_axis in (
        ("key/value heads", num_kv_heads, "heads"),
        ("hidden units", dim, "hidden"),
        ("logits", vocab_size, "hidden"),
    ):
        check_divides(name, (size,), partition_spec((logical_axis,), model.axis_rules), mesh.shape)


def num_row_shards(model: PureModel, mesh: Mesh) -> int:
    """Return over how many devices the rows of a batch are spread."""
    return math.prod(mesh.shape[axis] for axis in model.axis_rules["batch"])
