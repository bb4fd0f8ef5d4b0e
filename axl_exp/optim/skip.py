"""Steps that are not taken: gradients that are not finite, or far too large, change nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import ConfigOr, maybe_instantiate
from axl_exp.optim.context import add_summary
from axl_exp.optim.drop_norm import DropNorm, NormStatistics


class SkipAndClipState(NamedTuple):
    """What is known of steps, taken or not, and the inner state of those taken."""

    # How many steps were skipped.
    nonvalid_count: jax.Array
    # None where the drop norm is a number.
    norm_statistics: NormStatistics | None
    inner_state: Any


def skip_and_clip_by_global_norm(
    inner: ConfigOr[optax.GradientTransformation],
    *,
    drop_norm: float | ConfigOr[DropNorm] | None = None,
    max_norm: float | None = None,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Return `inner` on g · min(1, max_norm / (‖g‖ + eps)), or no update at all if g is not valid.

    g is valid if all of it is finite and ‖g‖ < drop_norm. If it is not, the update is 0 (no decay
    either) and the inner state stays as it was, with every count and schedule in it.
    Reports `nonvalid_count`, how many steps were skipped until now; `gradient_scale`, the factor
    above; and where the drop norm moves, `gradient_norm_mean`, `gradient_norm_stddev` and
    `num_exceeds_<threshold>` for each threshold.

    Args:
        inner: What makes an update of the clipped gradients.
        drop_norm: A norm that is too large; a number, or a rule from the norms of the steps before
            (see `drop_norm_by_grad_norm_ema`). None lets every finite gradient pass.
        max_norm: The norm to which longer gradients are shortened; None leaves them.
        eps: Added to ‖g‖ before it divides.
    """
    inner = maybe_instantiate(inner)
    threshold = maybe_instantiate(drop_norm)
    rule = threshold if isinstance(threshold, DropNorm) else None

    def init(params: Any) -> Any:
        return SkipAndClipState(
            nonvalid_count=jnp.zeros((), jnp.int32),
            norm_statistics=None if rule is None else rule.init(),
            inner_state=inner.init(params),
        )

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        """Return the update of the gradients g, 0 for each parameter if they are not valid."""
        norm = optax.tree.norm(updates)
        is_valid = jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(updates)]).all()
        statistics = state.norm_statistics
        if rule is not None:
            reached = rule.reached(statistics, norm)
            is_valid &= ~jnp.stack(list(reached.values())).any()
            statistics = rule.updated(statistics, norm, reached=reached, is_valid=is_valid)
            _report(statistics)
        elif threshold is not None:
            is_valid &= norm < jnp.float32(threshold)
        nonvalid_count = state.nonvalid_count + ~is_valid
        add_summary("nonvalid_count", nonvalid_count)

        if max_norm is not None:
            scale = jnp.minimum(1.0, max_norm / (norm + eps))
            add_summary("gradient_scale", scale)
            updates = jax.tree.map(lambda g: g * scale, updates)
        updates, inner_state = inner.update(updates, state.inner_state, params)

        # Not a product with 0: what is skipped may not be finite.
        updates = jax.tree.map(lambda u: jnp.where(is_valid, u, jnp.zeros_like(u)), updates)
        inner_state = jax.tree.map(
            lambda new, old: jnp.where(is_valid, new, old), inner_state, state.inner_state
        )
        return updates, SkipAndClipState(nonvalid_count, statistics, inner_state)

    return optax.GradientTransformation(init, update)


def _report(statistics: NormStatistics) -> None:
    add_summary("gradient_norm_mean", statistics.mean)
    add_summary("gradient_norm_stddev", jnp.sqrt(statistics.variance))
    for name, count in statistics.exceeded.items():
        add_summary(f"num_exceeds_{name}", count)
