"""The feed-forward half of a layer: SwiGLU and its like (Shazeer 2020, arXiv 2002.05202).

B batch, S sequence, D model dim, F hidden dim.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from axl_exp.config import REQUIRED, InstantiableConfig, Required, config_class
from axl_exp.errors import UserError
from axl_exp.model.dropout import Key
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.linear import Linear
from axl_exp.model.residual import ResidualLayer
from axl_exp.model.sharding import constrain
from axl_exp.model.summaries import is_collecting, record_summary


class _Activation(NamedTuple):
    function: Callable[[jax.Array], jax.Array]
    # Below it a unit puts out nearly nothing; -inf where it always puts out something.
    dead_below: float


_ACTIVATIONS = {
    "linear": _Activation(lambda x: x, -math.inf),
    "nn.gelu": _Activation(jax.nn.gelu, -4.0),
    "nn.relu": _Activation(jax.nn.relu, 0.0),
    "nn.silu": _Activation(jax.nn.silu, -10.0),
}

_RMS_VALUES = ("inputs", "linear1_outputs", "linear2_outputs")


class TransformerFeedForwardLayer(ResidualLayer):
    """x + linear2(product of activation_i(linear1_i(norm(x)))), or as `structure` says."""

    @config_class
    class Config(ResidualLayer.Config):
        """The width, the activations, the products, and what surrounds them."""

        # The width between the two products.
        hidden_dim: Required[int] = REQUIRED
        # One name: linear1 and its activation. Several: as many products linear1_0, linear1_1, ...,
        # multiplied with each other; ("nn.silu", "linear") is SwiGLU, ("nn.gelu", "linear") GeGLU.
        activation: str | tuple[str, ...] = ("nn.silu", "linear")
        # From the model dim to the hidden dim.
        linear1: InstantiableConfig = Linear.default_config()
        # From the hidden dim back.
        linear2: InstantiableConfig = Linear.default_config()
        # Report the share of hidden units that no position of the batch turns on.
        add_dead_neuron_summary: bool = False
        # Report the root mean square of these values: inputs, linear1_outputs (times each other,
        # after their activations), linear2_outputs.
        add_value_rms_norm_summary: tuple[str, ...] = ()

    def __init__(
        self,
        cfg: Config,
        *,
        dim: int,
        dropout_rate: float = 0.0,
        param_init: DefaultInitializer,
        rngs: nnx.Rngs,
    ):
        super().__init__(cfg, dim=dim, dropout_rate=dropout_rate)
        names = (cfg.activation,) if isinstance(cfg.activation, str) else tuple(cfg.activation)
        _check_known("activation", names, tuple(_ACTIVATIONS))
        _check_known("add_value_rms_norm_summary", cfg.add_value_rms_norm_summary, _RMS_VALUES)
        self.reports_dead_neurons = cfg.add_dead_neuron_summary
        self.reported_rms_values = cfg.add_value_rms_norm_summary
        # The name of each first product, and its activation.
        gated = len(names) > 1
        self.branches = tuple(
            (f"linear1_{i}" if gated else "linear1", name) for i, name in enumerate(names)
        )
        for branch, _ in self.branches:
            linear1 = cfg.linear1.instantiate(
                input_dim=dim,
                output_dim=cfg.hidden_dim,
                logical_axes=("embed", "feed_forward"),
                param_init=param_init,
                rngs=rngs,
            )
            setattr(self, branch, linear1)
        self.linear2 = cfg.linear2.instantiate(
            input_dim=cfg.hidden_dim,
            output_dim=dim,
            logical_axes=("feed_forward", "embed"),
            param_init=param_init,
            rngs=rngs,
        )

    def __call__(self, x_BSD: jax.Array, *, key: Key = None) -> jax.Array:
        """Return [B, S, D]."""
        return self.add_branch(x_BSD, self._products, key=key)

    def _products(self, x_BSD: jax.Array, key: Key) -> jax.Array:
        self._report_rms("inputs", x_BSD)
        parts = []
        for branch, activation in self.branches:
            part = getattr(self, branch)(x_BSD)
            part = constrain(checkpoint_name(part, branch), "batch", "sequence", "hidden")
            self._report_dead_neurons(branch, part, _ACTIVATIONS[activation].dead_below)
            parts.append(_ACTIVATIONS[activation].function(part))
        hidden_BSF = functools.reduce(operator.mul, parts)
        self._report_rms("linear1_outputs", hidden_BSF)
        # As the original transformer has it, postnorm drops what a branch puts out and no more.
        if self.structure != "postnorm":
            hidden_BSF = self.dropout(hidden_BSF, key=key)
        output_BSD = checkpoint_name(self.linear2(hidden_BSF), "linear2")
        output_BSD = constrain(output_BSD, "batch", "sequence", "hidden")
        self._report_rms("linear2_outputs", output_BSD)
        return output_BSD

    def _report_dead_neurons(self, branch: str, part_BSF: jax.Array, dead_below: float) -> None:
        if self.reports_dead_neurons and dead_below > -math.inf and is_collecting():
            is_dead_F = jnp.max(part_BSF, axis=(0, 1)) < dead_below
            record_summary(
                f"feed_forward/{branch}/dead_neurons", jnp.mean(is_dead_F, dtype=jnp.float32)
            )

    def _report_rms(self, name: str, value: jax.Array) -> None:
        if name in self.reported_rms_values and is_collecting():
            mean_square = jnp.mean(jnp.square(value.astype(jnp.float32)))
            record_summary(f"feed_forward/{name}/rms", jnp.sqrt(mean_square))


def _check_known(field: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"feed_forward.{field}: {name!r} is none of {', '.join(known)}.")
