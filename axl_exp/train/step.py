"""The train step: one pure function of state and batch. The only one: dry runs compile it too."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from axl_exp.model import LossSums
from axl_exp.model.dropout import Key
from axl_exp.model.sharding import partition_spec
from axl_exp.model.summaries import Summaries, collect_summaries
from axl_exp.optim import Learner
from axl_exp.train.accumulation import accumulate_gradients
from axl_exp.train.state import Params, PureModel, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

# Tells what dropout draws from what parameters are drawn from: they count up from 0.
_DROPOUT_STREAM = 2**31


def cast_floats(tree: Any, dtype: Any) -> Any:
    """Return `tree` with every floating leaf as `dtype`; a leaf that has it is left alone."""

    def cast(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != dtype:
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(cast, tree)


def make_train_step(
    model: PureModel,
    learner: Learner,
    *,
    train_dtype: Any,
    seed: int,
    accumulation_steps: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return `step(state, batch) -> (state, metrics)`.

    Parameters are cast to `train_dtype` inside the forward pass; the master copy, gradients and the
    update keep theirs. What dropout draws follows from `seed` and the step alone, so that a resumed
    run draws what the interrupted one would have. Metrics are `loss`, `num_targets`, what the
    learner summarises, and what the model adds: scalars, or see `scalar_metrics`. The batch goes
    through the model in `accumulation_steps` parts, see `accumulate_gradients`.
    """

    def loss_of(
        params: Params, batch: Batch, key: Key, *, scale: jax.Array | None
    ) -> tuple[jax.Array, tuple[LossSums, Summaries]]:
        with collect_summaries() as summaries:
            output = model.bind(cast_floats(params, train_dtype)).loss(batch, key=key)
        loss = output.loss if scale is None else output.loss * scale
        return loss, (output.aux, summaries)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = dropout_key(seed, state.step) if model.is_random else None
        scale = learner.scale_of_loss(state.opt_state)
        gradient = accumulate_gradients(
            jax.value_and_grad(functools.partial(loss_of, scale=scale), has_aux=True),
            num_parts=accumulation_steps,
            model=model,
        )
        (loss, (aux, model_summaries)), gradients = gradient(state.params, batch, key)
        gradients = model.constrain(gradients)
        loss = loss if scale is None else loss / scale
        params, opt_state, summaries = learner.update(gradients, state.opt_state, state.params)
        metrics = {"loss": loss, "num_targets": aux.num_targets, **summaries, **model_summaries}
        if aux.z_loss_sum is not None:
            metrics["z_loss"] = aux.z_loss_sum / jnp.maximum(aux.num_targets, 1)
        return TrainState(state.step + 1, params, opt_state), metrics

    return step


def dropout_key(seed: int, step: jax.Array) -> jax.Array:
    """Return the key of a step; no parameter is drawn from it or from one that it derives from."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _DROPOUT_STREAM), step)


def scalar_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics on the host as Python scalars, one per layer where they are arrays of layers.

    `layer/*/feed_forward/linear2_outputs/rms` becomes `layer/0/feed_forward/...` and so on.
    """
    scalars = {}
    for name, values in metrics.items():
        if values.ndim == 0:
            scalars[name] = values.item()
        else:
            scalars |= {name.replace("*", str(i)): value.item() for i, value in enumerate(values)}
    return scalars


def batch_shardings(abstract_batch: Any, *, mesh: Mesh, axis_rules: Any) -> Any:
    """Return the sharding of every [batch, sequence] array of a batch."""
    spec = partition_spec(("batch", "sequence"), axis_rules)
    return jax.tree.map(lambda _: NamedSharding(mesh, spec), abstract_batch)


def lower_train_step(
    step: Callable,
    *,
    abstract_state: TrainState,
    abstract_batch: Any,
    mesh: Mesh,
    compiler_options: Mapping[str, Any],
) -> jax.stages.Lowered:
    """Return the step as the program that a compiler gets, its state donated.

    The options go with it to whatever compiles it.

    The devices of the mesh need not be here: nothing is allocated.
    """
    replicated = NamedSharding(mesh, jax.sharding.PartitionSpec())
    state_shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
    jitted = jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(state_shardings, replicated),
        compiler_options=dict(compiler_options),
    )
    with jax.set_mesh(mesh):
        return jitted.lower(abstract_state, abstract_batch)
