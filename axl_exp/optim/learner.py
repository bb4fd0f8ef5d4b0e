"""Learner: from gradients to new parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class


class LearnerOutput(NamedTuple):
    """What an update gives."""

    # The new parameters, in the structure and dtypes of the old ones.
    params: Any
    # The new state.
    state: Any
    # float32 scalars: `gradient_norm`, before clipping, and `learning_rate` of this update.
    summaries: dict[str, jax.Array]


class Learner(Configurable):
    """Clips gradients and lets an optimizer make an update of them, in float32.

    It holds no state of its own: `init` makes it, `update` takes and returns it.
    """

    @config_class
    class Config(Configurable.Config):
        """What is done with gradients."""

        # A function that returns an optax.GradientTransformation, through `config_for_function`.
        optimizer: Required[InstantiableConfig] = REQUIRED
        # Another, applied to the gradients before the optimizer; None leaves them as they are.
        gradient_clipping: InstantiableConfig | None = None

    def __init__(self, cfg: Config):
        parts = [part for part in (cfg.gradient_clipping, cfg.optimizer) if part is not None]
        self._optimizer = optax.chain(*(part.instantiate() for part in parts))

    def init(self, params: Any) -> Any:
        """Return the state before the first update, for a tree of parameters."""
        return self._optimizer.init(_as_float32(params))

    def update(self, gradients: Any, state: Any, params: Any) -> LearnerOutput:
        """Return the parameters and the state after one update; trees of the same structure."""
        gradients, params_fp32 = _as_float32(gradients), _as_float32(params)
        updates, state = self._optimizer.update(gradients, state, params_fp32)
        return LearnerOutput(
            params=jax.tree.map(
                lambda p, p32, u: (p32 + u).astype(p.dtype), params, params_fp32, updates
            ),
            state=state,
            summaries={
                "gradient_norm": optax.tree.norm(gradients),
                "learning_rate": optax.tree.get(state, "learning_rate"),
            },
        )


def _as_float32(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)
