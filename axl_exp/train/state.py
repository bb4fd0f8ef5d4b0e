"""What training carries from step to step, and the model as pure functions of it.

Parameters live in a plain nested dict of arrays (what optax, Orbax and a reader of a checkpoint
understand); the flax module is rebuilt from it inside each traced function.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from axl_exp.model.dropout import is_random
from axl_exp.model.sharding import mesh_is_split, param_partition_specs
from axl_exp.optim import Learner, LogicalAxes, like_params

Params = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The whole state of training; or a tree like it, of shapes or shardings.

    Attributes:
        step: int32 scalar, how many steps are done.
        params: Nested dict of parameters.
        opt_state: The learner's state.
    """

    step: Any
    params: Params
    opt_state: Any


class PureModel:
    """A model whose parameters are an argument; made without allocating any."""

    def __init__(self, model_cfg: Any):
        abstract = nnx.eval_shape(lambda: model_cfg.instantiate(rngs=nnx.Rngs(0)))
        self._model_cfg = model_cfg
        self._graph, self._template = nnx.split(abstract, nnx.Param)
        # Whether training draws: dropout or stochastic depth somewhere.
        self.is_random = is_random(abstract)
        self.axis_rules = model_cfg.logical_axis_rules

    @property
    def abstract(self) -> Any:
        """The model with `ShapeDtypeStruct`s as parameters."""
        return nnx.merge(self._graph, self._template)

    @property
    def abstract_params(self) -> Params:
        """The parameters as `ShapeDtypeStruct`s."""
        return nnx.to_pure_dict(self._template)

    @property
    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by path (`decoder/output_norm/scale`)."""
        flat = nnx.traversals.flatten_mapping(self.abstract_params, sep="/")
        return {path: leaf.shape for path, leaf in flat.items()}

    @property
    def logical_axes(self) -> LogicalAxes:
        """The logical axes of every parameter, by path (`decoder/output_norm/scale`)."""
        return {
            "/".join(map(str, path)): param.get_metadata()["logical_axes"]
            for path, param in nnx.to_flat_state(self._template)
        }

    def init(self, key: jax.Array) -> Params:
        """Return newly drawn parameters."""
        model = self._model_cfg.instantiate(rngs=nnx.Rngs(key))
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    def bind(self, params: Params) -> Any:
        """Return the model with these parameters."""
        state = jax.tree.map(lambda leaf: leaf, self._template)  # replacing works in place
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(self._graph, state)

    def param_shardings(self, mesh: Mesh | AbstractMesh) -> Params:
        """Return the NamedSharding of every parameter.

        Raises:
            ShardingError: A dim does not divide by the devices that split it.
        """
        specs = param_partition_specs(self._template, self.axis_rules, mesh_shape=mesh.shape)
        specs = nnx.to_pure_dict(specs)
        is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=is_spec)

    def constrain(self, params: Params) -> Params:
        """Return a tree like the parameters, laid out as they are on the mesh of `jax.set_mesh`."""
        if not mesh_is_split():
            return params
        specs = nnx.to_pure_dict(param_partition_specs(self._template, self.axis_rules))
        return jax.lax.with_sharding_constraint(params, specs)


def abstract_train_state(
    model: PureModel, learner: Learner, mesh: Mesh | AbstractMesh
) -> TrainState:
    """Return the state as `ShapeDtypeStruct`s with shardings; nothing is allocated.

    What the learner keeps for each parameter (its moments) is sharded like the parameter, in the
    memory that the learner says; the rest (counts) is on every device.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    shardings = model.param_shardings(mesh)
    params = model.abstract_params
    state = TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32),
        params=params,
        opt_state=jax.eval_shape(learner.init, params),
    )
    opt_shardings = like_params(state.opt_state, params=params, values=shardings, other=replicated)
    if learner.optimizer_memory is not None:
        moments = like_params(
            state.opt_state.optimizer,
            params=params,
            values=jax.tree.map(
                lambda sharding: sharding.with_memory_kind(learner.optimizer_memory), shardings
            ),
            other=replicated,
        )
        opt_shardings = opt_shardings._replace(optimizer=moments)
    state_shardings = TrainState(step=replicated, params=shardings, opt_state=opt_shardings)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        state_shardings,
    )


def state_of_params(
    learner: Learner, params: Iterable[tuple[str, np.ndarray]], *, abstract: TrainState
) -> TrainState:
    """Return the state before the first step that begins with `params`, by path and one at a time.

    Of each, a process lays its shards on its devices and drops the rest, before it takes the next.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    of_path = nnx.traversals.flatten_mapping(shardings.params, sep="/")
    flat = {
        path: jax.make_array_from_callback(param.shape, of_path[path], param.__getitem__)
        for path, param in params
    }
    begin = jax.jit(
        lambda params: TrainState(jnp.zeros((), jnp.int32), params, learner.init(params)),
        out_shardings=shardings,
        donate_argnums=0,
    )
    return begin(nnx.traversals.unflatten_mapping(flat, sep="/"))


def init_train_state(
    model: PureModel, learner: Learner, *, abstract: TrainState, seed: int
) -> TrainState:
    """Return the state before the first step, drawn in place on the devices that will hold it.

    The numbers depend on the seed alone, not on the mesh.
    """

    def init(key: jax.Array) -> TrainState:
        params = model.init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, learner.init(params))

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(init, out_shardings=shardings)(jax.random.key(seed))


@jax.jit
def _count_non_finite(params: Params) -> jax.Array:
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(params)]
    return sum(counts, start=jnp.zeros((), jnp.int32))


def all_finite(params: Params) -> bool:
    """Return whether no parameter is NaN or infinite; waits for the device."""
    return int(_count_non_finite(params)) == 0
