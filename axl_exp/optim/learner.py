"""Learner: from gradients to new parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axl_exp.config import (
    REQUIRED,
    Configurable,
    InstantiableConfig,
    Required,
    config_class,
    config_for_function,
    maybe_instantiate,
)
from axl_exp.errors import UserError
from axl_exp.optim.context import LogicalAxes, add_summary, learner_context
from axl_exp.optim.ema import ParamEmaState, param_ema
from axl_exp.optim.in_turns import advance_in_turns
from axl_exp.optim.loss_scale import LossScaler
from axl_exp.optim.per_param import add_rms_summaries, compile_pattern, map_with_path


class LearnerState(NamedTuple):
    """What a Learner carries from update to update."""

    # Of the clipping and the optimizer.
    optimizer: Any
    # Of the running mean of the parameters.
    ema: Any
    # Of the loss scaler; None where there is none.
    loss_scale: Any = None


class LearnerOutput(NamedTuple):
    """What an update gives."""

    # The new parameters, in the structure and dtypes of the old ones.
    params: Any
    # The new state.
    state: LearnerState
    # Scalars for the step's record: `gradient_norm`, before clipping, `learning_rate` of this
    # update, and what else the optimizer reports.
    summaries: dict[str, jax.Array]


class Learner(Configurable):
    """Clips gradients and lets an optimizer make an update of them, in float32.

    It holds no state of its own: `init` makes it, `update` takes and returns it.

    Attributes:
        optimizer_memory: The memory kind of the optimizer's state; None for the device's own.
    """

    @config_class
    class Config(Configurable.Config):
        """What is done with gradients."""

        # A function that returns an optax.GradientTransformation, through `config_for_function`.
        optimizer: Required[InstantiableConfig] = REQUIRED
        # Another, applied to the gradients before the optimizer; None leaves them as they are.
        gradient_clipping: InstantiableConfig | None = None
        # Patterns, each for a whole path such as `decoder/emb/token_emb/weight`: parameters that
        # stay as they are. They have no optimizer state and no part in the gradient's norm.
        frozen_params: tuple[str, ...] = ()
        # The running mean of the parameters, used by evaluation; without a decay there is none.
        ema: InstantiableConfig = config_for_function(param_ema)
        # float16: multiplies the loss before it is differentiated, and leaves out steps whose
        # gradients overflow (see `dynamic_loss_scaler`). None does neither.
        loss_scaler: InstantiableConfig | None = None
        # Where the optimizer's state of each parameter waits between steps: `pinned_host` is the
        # host's memory, to which a device copies by itself, one parameter's state after the other.
        # None is the device's own.
        optimizer_memory: str | None = None
        # Report `param_rms/<path>` and `gradient_rms/<path>` of every parameter at every step.
        enable_per_variable_summaries: bool = False

    def __init__(self, cfg: Config, *, logical_axes: LogicalAxes | None = None):
        """Args:
        logical_axes: The logical axes of each parameter, by path. Without them, a stack of layers
            counts as one tensor where an optimizer has rules for each.
        """
        parts = [part for part in (cfg.gradient_clipping, cfg.optimizer) if part is not None]
        self._optimizer = optax.chain(*(part.instantiate() for part in parts))
        self._ema = cfg.ema.instantiate()
        self.optimizer_memory = cfg.optimizer_memory
        self._loss_scaler: LossScaler | None = maybe_instantiate(cfg.loss_scaler)
        self._reports_variables = cfg.enable_per_variable_summaries
        self._logical_axes = logical_axes
        self._frozen = [
            compile_pattern(pattern, field="learner.frozen_params") for pattern in cfg.frozen_params
        ]

    def init(self, params: Any) -> LearnerState:
        """Return the state before the first update, for a tree of parameters.

        Raises:
            UserError: A pattern of `frozen_params` matches no parameter.
        """
        self._check_frozen(params)
        with learner_context(self._logical_axes):
            optimizer_state = self._optimizer.init(_as_float32(self._trained(params)))
        loss_scale = None if self._loss_scaler is None else self._loss_scaler.init()
        return LearnerState(optimizer_state, self._ema.init(params), loss_scale)

    def scale_of_loss(self, state: LearnerState) -> jax.Array | None:
        """Return what the next loss is to be multiplied with before it is differentiated."""
        return None if state.loss_scale is None else state.loss_scale.scale

    def update(self, gradients: Any, state: LearnerState, params: Any) -> LearnerOutput:
        """Return the parameters and the state after one update; trees of the same structure.

        With a loss scaler, the gradients are those of the scaled loss. If one of them is not
        finite, all stays as it was but the state of the scaler. Reports `loss_scale`, that of the
        next step, and `num_skipped_steps`, how many were left out until now.
        """
        gradients = _as_float32(self._trained(gradients))
        is_finite = loss_scale = None
        if self._loss_scaler is not None:
            gradients = jax.tree.map(lambda g: g / state.loss_scale.scale, gradients)
            finite = [jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradients)]
            is_finite = jnp.stack(finite).all()
            loss_scale = self._loss_scaler.updated(state.loss_scale, is_finite=is_finite)

        def advance(optimizer_state: Any) -> tuple[Any, Any, dict[str, jax.Array]]:
            new_params, new_state, summaries = self._advance(gradients, optimizer_state, params)
            new_params = _if_finite(is_finite, new_params, params)
            return new_params, _if_finite(is_finite, new_state, optimizer_state), summaries

        if self.optimizer_memory is None:
            new_params, optimizer_state, summaries = advance(state.optimizer)
        else:
            new_params, optimizer_state, summaries = advance_in_turns(
                advance, state.optimizer, params=self._trained(params)
            )
        _, ema_state = self._ema.update(new_params, state.ema, new_params)
        if loss_scale is not None:
            summaries |= {
                "loss_scale": loss_scale.scale,
                "num_skipped_steps": loss_scale.num_skipped,
            }
        return LearnerOutput(
            params=new_params,
            state=LearnerState(
                optimizer_state, _if_finite(is_finite, ema_state, state.ema), loss_scale
            ),
            summaries=summaries,
        )

    def _advance(
        self, gradients: Any, optimizer_state: Any, params: Any
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """Return the new parameters, p + Δp in float32; the optimizer's new state; summaries."""
        trained = _as_float32(self._trained(params))
        with learner_context(self._logical_axes) as context:
            add_summary("gradient_norm", optax.tree.norm(gradients))
            if self._reports_variables:
                add_rms_summaries("param_rms", trained)
                add_rms_summaries("gradient_rms", gradients)
            updates, optimizer_state = self._optimizer.update(gradients, optimizer_state, trained)

        def updated(p: jax.Array, update: Any) -> jax.Array:
            if isinstance(update, optax.MaskedNode):
                return p
            return (p.astype(jnp.float32) + update).astype(p.dtype)

        return jax.tree.map(updated, params, updates), optimizer_state, context.summaries

    def eval_params(self, state: LearnerState, params: Any) -> Any:
        """Return the parameters to evaluate: their running mean if there is one, else `params`."""
        return state.ema.ema if isinstance(state.ema, ParamEmaState) else params

    def _trained(self, tree: Any) -> Any:
        """Return the tree with nothing in the place of each frozen parameter."""
        if not self._frozen:
            return tree

        def unless_frozen(path: str, leaf: Any) -> Any:
            return optax.MaskedNode() if any(p.fullmatch(path) for p in self._frozen) else leaf

        return map_with_path(unless_frozen, tree)

    def _check_frozen(self, params: Any) -> None:
        paths: list[str] = []
        map_with_path(lambda path, _: paths.append(path), params)
        for pattern in self._frozen:
            if not any(pattern.fullmatch(path) for path in paths):
                raise UserError(
                    f"learner.frozen_params: {pattern.pattern!r} matches no parameter; a pattern "
                    f"must match a whole path, such as {paths[0]!r}."
                )


def _if_finite(is_finite: jax.Array | None, new: Any, old: Any) -> Any:
    """Return `new`, or `old` where gradients were not finite; None stands for finite."""
    if is_finite is None:
        return new
    return jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), new, old)


def _as_float32(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)
