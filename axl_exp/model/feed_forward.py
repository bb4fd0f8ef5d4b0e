"""The feed-forward half of a layer: SwiGLU and its like (Shazeer 2020, arXiv 2002.05202).

B batch, S sequence, D model dim, F hidden dim.
"""

from collections.abc import Callable

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer
from axl_exp.model.initializer import DefaultInitializer
from axl_exp.model.linear import Linear
from axl_exp.model.norm import RMSNorm
from axl_exp.model.sharding import constrain

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda x: x,
    "nn.gelu": jax.nn.gelu,
    "nn.relu": jax.nn.relu,
    "nn.silu": jax.nn.silu,
}


class TransformerFeedForwardLayer(BaseLayer):
    """x + linear2(product of activation_i(linear1_i(norm(x))))."""

    @config_class
    class Config(Configurable.Config):
        """The width, the activations and the parts."""

        # The width between the two products.
        hidden_dim: Required[int] = REQUIRED
        # One name: linear1 and its activation. Several: as many products linear1_0, linear1_1, ...,
        # multiplied with each other; ("nn.silu", "linear") is SwiGLU.
        activation: str | tuple[str, ...] = ("nn.silu", "linear")
        # Before the products.
        norm: InstantiableConfig = RMSNorm.default_config()
        # From the model dim to the hidden dim.
        linear1: InstantiableConfig = Linear.default_config()
        # From the hidden dim back.
        linear2: InstantiableConfig = Linear.default_config()

    def __init__(self, cfg: Config, *, dim: int, param_init: DefaultInitializer, rngs: nnx.Rngs):
        names = (cfg.activation,) if isinstance(cfg.activation, str) else tuple(cfg.activation)
        unknown = [name for name in names if name not in _ACTIVATIONS]
        if unknown:
            raise UserError(
                f"feed_forward.activation: {unknown[0]!r} is none of {', '.join(_ACTIVATIONS)}."
            )
        self.norm = cfg.norm.instantiate(dim=dim)
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

    def __call__(self, x_BSD: jax.Array) -> jax.Array:
        """Return [B, S, D]."""
        normed_BSD = self.norm(x_BSD)
        hidden_BSF = None
        for branch, activation in self.branches:
            part = getattr(self, branch)(normed_BSD)
            part = constrain(checkpoint_name(part, branch), "batch", "sequence", "hidden")
            part = _ACTIVATIONS[activation](part)
            hidden_BSF = part if hidden_BSF is None else hidden_BSF * part
        output_BSD = checkpoint_name(self.linear2(hidden_BSF), "linear2")
        return x_BSD + constrain(output_BSD, "batch", "sequence", "hidden")
