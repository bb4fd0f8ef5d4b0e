"""Which parts of an optimizer's state belong to which parameter."""

from __future__ import annotations

from typing import Any

import jax
from jax.tree_util import DictKey


def like_params(state: Any, *, params: Any, values: Any, other: Any) -> Any:
    """Return a tree like `state` with each leaf replaced by the value of its parameter.

    A leaf belongs to a parameter if the dict keys on the way to it end with the parameter's own and
    it has the parameter's shape: so do moments, whatever wraps them. Everything else (counts,
    factors of a second moment) gets `other`.

    Args:
        state: Of any optimizer; its leaves have shapes.
        params: Nested dict of what has a shape.
        values: Nested dict of anything, one per parameter, such as shardings.
        other: For leaves of no parameter.
    """
    keyed = jax.tree_util.tree_leaves_with_path(params)
    shapes = {_dict_keys(keys): leaf.shape for keys, leaf in keyed}
    value_of = dict(zip(shapes, jax.tree.structure(params).flatten_up_to(values), strict=True))

    def value_at(keys: tuple[Any, ...], leaf: Any) -> Any:
        names = _dict_keys(keys)
        for start in range(len(names)):
            if shapes.get(names[start:]) == leaf.shape:
                return value_of[names[start:]]
        return other

    return jax.tree_util.tree_map_with_path(value_at, state)


def _dict_keys(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(key.key for key in keys if isinstance(key, DictKey))
