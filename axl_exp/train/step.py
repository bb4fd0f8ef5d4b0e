"""The train step: one pure function of state and batch. The only one: dry runs compile it too."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from axl_exp.model import LossSums
from axl_exp.model.sharding import partition_spec
from axl_exp.optim import Learner
from axl_exp.train.state import Params, PureModel, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def cast_floats(tree: Any, dtype: Any) -> Any:
    """Return `tree` with every floating leaf as `dtype`; a leaf that has it is left alone."""

    def cast(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != dtype:
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(cast, tree)


def make_train_step(
    model: PureModel, learner: Learner, *, train_dtype: Any
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return `step(state, batch) -> (state, metrics)`.

    Parameters are cast to `train_dtype` inside the forward pass; the master copy, gradients and the
    update keep theirs. Metrics are scalars: `loss`, `num_targets`, what the learner summarises, and
    what the model's loss adds.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        def loss_of(params: Params) -> tuple[jax.Array, LossSums]:
            output = model.bind(cast_floats(params, train_dtype)).loss(batch)
            return output.loss, output.aux

        (loss, aux), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state, summaries = learner.update(gradients, state.opt_state, state.params)
        metrics = {"loss": loss, "num_targets": aux.num_targets, **summaries}
        if aux.z_loss_sum is not None:
            metrics["z_loss"] = aux.z_loss_sum / jnp.maximum(aux.num_targets, 1)
        return TrainState(state.step + 1, params, opt_state), metrics

    return step


def batch_shardings(abstract_batch: Any, *, mesh: Mesh, axis_rules: Any) -> Any:
    """Return the sharding of every [batch, sequence] array of a batch."""
    spec = partition_spec(("batch", "sequence"), axis_rules)
    return jax.tree.map(lambda _: NamedSharding(mesh, spec), abstract_batch)


def compile_train_step(
    step: Callable, *, abstract_state: TrainState, abstract_batch: Any, mesh: Mesh
) -> jax.stages.Compiled:
    """Return the compiled step, its state donated; nothing is allocated."""
    replicated = NamedSharding(mesh, jax.sharding.PartitionSpec())
    state_shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, replicated))
    with jax.set_mesh(mesh):
        return jitted.lower(abstract_state, abstract_batch).compile()
