"""RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, equation 4)."""

import jax
import jax.numpy as jnp

from axl_exp.config import Configurable, config_class
from axl_exp.model.base import BaseLayer, parameter


class RMSNorm(BaseLayer):
    """x / sqrt(mean(x²) + eps) · scale, over the last dim; the statistics are float32."""

    @config_class
    class Config(Configurable.Config):
        """What of a norm is a choice."""

        # Added to the mean square.
        eps: float = 1e-5

    def __init__(self, cfg: Config, *, dim: int):
        self.eps = cfg.eps
        self.scale = parameter(jnp.ones(dim), logical_axes=("norm",))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the normalised x [..., dim], in the dtype of x."""
        x_fp32 = x.astype(jnp.float32)
        mean_square = jnp.mean(x_fp32 * x_fp32, axis=-1, keepdims=True)
        normalised = x_fp32 * jax.lax.rsqrt(mean_square + self.eps)
        return normalised.astype(x.dtype) * self.scale[...]
