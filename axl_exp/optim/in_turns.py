"""Optimizer state that waits in another memory comes to the device one parameter's at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from axl_exp.optim.context import nobody_listens
from axl_exp.optim.per_param import map_with_path
from axl_exp.optim.state_layout import like_params

# From an optimizer's state to the new parameters, the new state, and scalars by name.
Advance = Callable[[Any], tuple[Any, Any, dict[str, jax.Array]]]


def advance_in_turns(
    advance: Advance, state: Any, *, params: Any
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Return `advance(state)` of a state in host memory, fetched a parameter's part at a time.

    What a parameter has there is fetched once the parameter before it is done, so that a step needs
    room for the largest part, not for all. Where there is more room, XLA may fetch ahead.

    `advance` is traced once per parameter, each trace with that parameter's part fetched in turn,
    and only what belongs to the parameter is taken from it: no optimizer has to know. One that
    mixes the state of several parameters gets right numbers too, but fetches all at once.

    Args:
        advance: Takes the state in the device's memory.
        state: The state where it waits; `like_params` tells whose its leaves are.
        params: Nested dict of the parameters that have a state.
    """
    paths = map_with_path(lambda path, _: path, params)
    leaves, structure = jax.tree.flatten(state)
    owners = structure.flatten_up_to(like_params(state, params=params, values=paths, other=""))
    at_once = [_fetch(leaf) for leaf in leaves]
    # For what needs no parameter's part, such as counts; the compiler drops the rest.
    new_params, new_state, summaries = advance(structure.unflatten(at_once))
    new_leaves, before = structure.flatten_up_to(new_state), None
    for path in jax.tree.leaves(paths):
        mine = [index for index, owner in enumerate(owners) if owner == path]
        if not mine:
            continue
        waiting = [leaves[index] for index in mine]
        if before is not None:
            # The parameter goes on from here: the compiler would drop what nobody takes up again.
            *waiting, done = jax.lax.optimization_barrier((*waiting, _leaf(new_params, before)))
            new_params = _with_leaf(new_params, before, done)
        in_turn = list(at_once)
        for index, leaf in zip(mine, waiting, strict=True):
            in_turn[index] = _fetch(leaf)
        with nobody_listens():  # The first trace has told all that is told of a trace.
            own_params, own_state, own_summaries = advance(structure.unflatten(in_turn))
        new_params = _with_leaf(new_params, path, _leaf(own_params, path))
        own_leaves = structure.flatten_up_to(own_state)
        for index in mine:
            new_leaves[index] = own_leaves[index]
        summaries |= {name: x for name, x in own_summaries.items() if name.endswith(f"/{path}")}
        before = path
    return new_params, structure.unflatten(new_leaves), summaries


def _fetch(leaf: jax.Array) -> jax.Array:
    return jax.device_put(leaf, jax.memory.Space.Device)


def _leaf(tree: Any, path: str) -> Any:
    for key in path.split("/"):
        tree = tree[key]
    return tree


def _with_leaf(tree: Any, path: str, leaf: Any) -> Any:
    return map_with_path(lambda name, other: leaf if name == path else other, tree)
