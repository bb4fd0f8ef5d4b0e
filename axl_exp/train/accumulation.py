"""Gradients of a large batch, a part of it at a time: less memory, the same numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from axl_exp.model import LossSums
from axl_exp.model.dropout import Key
from axl_exp.model.sharding import axis_rules, constrain
from axl_exp.model.summaries import Summaries
from axl_exp.train.state import PureModel

# From parameters, batch and key to the loss with what else it tells, and the gradients.
GradientFn = Callable[
    [Any, dict[str, jax.Array], Key],
    tuple[tuple[jax.Array, tuple[LossSums, Summaries]], Any],
]


def accumulate_gradients(gradient: GradientFn, *, num_parts: int, model: PureModel) -> GradientFn:
    """Return `gradient` of a whole batch, computed from `num_parts` parts one after the other.

    The mean over parts is weighted by their targets, so that every target of the batch counts the
    same; sums are float32. Summaries are plain means over the parts. Part i has the rows i,
    i + num_parts, ..., so that each device splits the rows that it holds.

    Args:
        gradient: Of a mean loss over the targets of a batch.
        num_parts: Divides the batch of every device.
        model: The model of that loss, which knows how batch and gradients lie on the mesh.
    """
    if num_parts == 1:
        return gradient

    def parts_of(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, num_parts, *rows.shape[1:]).swapaxes(0, 1)

    def whole(params: Any, batch: dict[str, jax.Array], key: Key):
        def body(sums: Any, part: Any) -> tuple[Any, tuple[LossSums, Summaries]]:
            index, rows = part
            with axis_rules(model.axis_rules):
                rows = {name: constrain(x, "batch", "sequence") for name, x in rows.items()}
            part_key = None if key is None else jax.random.fold_in(key, index)
            (loss, aux), gradients = gradient(params, rows, part_key)
            weight = aux[0].num_targets.astype(jnp.float32)
            sums = jax.tree.map(
                lambda total, x: total + weight * x.astype(jnp.float32), sums, (loss, gradients)
            )
            return (sums[0], model.constrain(sums[1])), aux

        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
        start = (jnp.zeros((), jnp.float32), model.constrain(zeros))
        parts = (jnp.arange(num_parts), jax.tree.map(parts_of, batch))
        sums, (loss_sums, summaries) = jax.lax.scan(body, start, parts)
        loss_sums = jax.tree.map(lambda x: jnp.sum(x, axis=0), loss_sums)
        summaries = jax.tree.map(lambda x: jnp.mean(x, axis=0), summaries)
        num_targets = jnp.maximum(loss_sums.num_targets, 1).astype(jnp.float32)
        loss, gradients = jax.tree.map(lambda total: total / num_targets, sums)
        gradients = jax.tree.map(lambda g, p: g.astype(p.dtype), gradients, params)
        return (loss, (loss_sums, summaries)), gradients

    return whole
