"""Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864, section 3.4.2).

B batch, S sequence, N heads, H head dim, R = H/2 rotated pairs.
"""

import jax
import jax.numpy as jnp

from axl_exp.config import Configurable, config_class
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer


class RoFormerSinusoidalPositionalEmbedding(BaseLayer):
    """The angles: position / theta^(2r/H) for pair r."""

    @config_class
    class Config(Configurable.Config):
        """What of the angles is a choice."""

        # The slowest pair turns once in about 2π·theta positions.
        theta: float = 10000.0

    def __init__(self, cfg: Config, *, head_dim: int):
        if head_dim % 2:
            raise UserError(
                f"Rotary embedding turns pairs of units, and the head dim is odd: {head_dim}; "
                "change dim or num_heads."
            )
        self.theta = cfg.theta
        self.head_dim = head_dim

    def __call__(self, positions_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the float32 sines and cosines, [B, S, R] each."""
        exponents_R = jnp.arange(0, self.head_dim, 2, dtype=jnp.float32) / self.head_dim
        angles_BSR = positions_BS[..., None].astype(jnp.float32) * self.theta**-exponents_R
        return jnp.sin(angles_BSR), jnp.cos(angles_BSR)


def rotate(x_BSNH: jax.Array, sin_BSR: jax.Array, cos_BSR: jax.Array) -> jax.Array:
    """Return x with each pair of neighbouring units (2r, 2r + 1) turned by its angle.

    Computed in float32, returned in the dtype of x.
    """
    pairs = x_BSNH.astype(jnp.float32).reshape(*x_BSNH.shape[:-1], -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    sin, cos = sin_BSR[:, :, None], cos_BSR[:, :, None]
    turned = jnp.stack([first * cos - second * sin, first * sin + second * cos], axis=-1)
    return turned.reshape(x_BSNH.shape).astype(x_BSNH.dtype)
