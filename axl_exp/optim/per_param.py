"""Parameters by their path, `decoder/emb/token_emb/weight`: scales, patterns, layers of a stack."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.errors import UserError
from axl_exp.optim.context import add_param_factors, add_summary, logical_axes_of

# From a tree of parameters to a tree of numbers, one per parameter.
PerParamScale = Callable[[Any], Any]


def param_path(keys: Sequence[Any]) -> str:
    """Return the path of a leaf of a nested dict, from the keys that `jax.tree_util` gives."""
    return "/".join(str(key.key) for key in keys)


def map_with_path(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Return the tree of `fn(path, leaf, *leaves)`."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, *leaves: fn(param_path(keys), *leaves), tree, *rest
    )


def map_per_layer(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Return the tree of `fn(leaf, *leaves)`, called on each layer of a stacked parameter apart.

    A parameter is stacked if its first logical axis is `layers`. Without logical axes (a
    transformation used without a Learner, a Learner that was told of none) no parameter is.
    """

    def apply(path: str, *leaves: Any) -> Any:
        axes = logical_axes_of(path)
        stacked = axes is not None and axes[0] == "layers"
        return (jax.vmap(fn) if stacked else fn)(*leaves)

    return map_with_path(apply, tree, *rest)


def add_rms_summaries(name: str, tree: Any) -> None:
    """Report the root mean square of each leaf as `<name>/<path>`; a stack's is over all layers."""
    map_with_path(
        lambda path, x: add_summary(f"{name}/{path}", jnp.sqrt(jnp.mean(jnp.square(x)))), tree
    )


def compile_pattern(pattern: str, *, field: str) -> re.Pattern[str]:
    """Return the compiled pattern.

    Raises:
        UserError: It is no regular expression; `field` says where it stands.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"{field}: {pattern!r} is no regular expression ({error}).") from None


def per_param_scale_by_path(
    *, scale_by_path: Sequence[tuple[str, float]], description: str, default_scale: float = 1.0
) -> PerParamScale:
    """Return the function that gives each parameter the scale of the first pattern it matches.

    Args:
        scale_by_path: Pairs of a pattern, which must match the whole path, and a scale.
        description: What the scale is for; for the reader of a config alone.
        default_scale: For parameters that no pattern matches.

    Raises:
        UserError: A pattern is no regular expression.
    """
    rules = [
        (compile_pattern(pattern, field=f"scale_by_path of {description!r}"), scale)
        for pattern, scale in scale_by_path
    ]

    def scale_of(path: str, _: Any) -> float:
        return next((scale for rule, scale in rules if rule.fullmatch(path)), default_scale)

    return lambda params: map_with_path(scale_of, params)


def scale_update_per_param(
    per_param_scale: ConfigOr[PerParamScale],
) -> optax.GradientTransformation:
    """Return scale · update, with each parameter's own scale."""
    scales_of = maybe_instantiate(per_param_scale)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        del params
        scales = scales_of(updates)
        add_param_factors("update_scale", scales)
        return jax.tree.map(lambda u, scale: u * scale, updates, scales), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
