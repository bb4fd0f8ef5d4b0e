"""Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864, section 3.4.2).

B batch, S sequence, N heads, H head dim, R = H/2 rotated pairs.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from axl_exp.config import Configurable, InstantiableConfig, config_class, maybe_instantiate
from axl_exp.errors import UserError
from axl_exp.model.base import BaseLayer
from axl_exp.model.sharding import platform_in_use

# Which units are a pair: (2r, 2r + 1), as in the paper, or (r, r + R), as in Hugging Face's Llama.
PairLayout = Literal["interleaved", "half_split"]


class Llama31RotaryScaling(Configurable):
    """Slows the slow pairs down, so that a model sees further than it was first trained to.

    Pairs that turn more than `high_freq_factor` times within the original length stay as they are,
    those that turn fewer than `low_freq_factor` times turn `factor` times as slowly, and those in
    between turn at a mean of the two (Llama 3.1, as its published code computes it).
    """

    @config_class
    class Config(Configurable.Config):
        """The defaults are those of Llama 3.1."""

        # By how much the slow pairs are slower.
        factor: float = 8.0
        # Turns within the original length: where pairs begin to stay, and from where they do.
        low_freq_factor: float = 1.0
        high_freq_factor: float = 4.0
        # Positions that the model saw at first.
        original_max_positions: int = 8192

    def __init__(self, cfg: Config):
        if not cfg.low_freq_factor < cfg.high_freq_factor:
            raise UserError(
                f"rope_pos_emb_layer.scaling: low_freq_factor {cfg.low_freq_factor} is not below "
                f"high_freq_factor {cfg.high_freq_factor}; change one."
            )
        super().__init__(cfg)

    def __call__(self, frequencies_R: jax.Array) -> jax.Array:
        """Return the scaled frequencies, in radians per position like those given."""
        cfg = self.config
        turns_R = cfg.original_max_positions * frequencies_R / (2 * math.pi)
        kept_R = (turns_R - cfg.low_freq_factor) / (cfg.high_freq_factor - cfg.low_freq_factor)
        kept_R = jnp.clip(kept_R, 0.0, 1.0)
        return kept_R * frequencies_R + (1 - kept_R) * frequencies_R / cfg.factor


class RoFormerSinusoidalPositionalEmbedding(BaseLayer):
    """The angles: position / theta^(2r/H) for pair r."""

    @config_class
    class Config(Configurable.Config):
        """What of the angles is a choice."""

        # The slowest pair turns once in about 2π·theta positions.
        theta: float = 10000.0
        # Which units are a pair.
        layout: PairLayout = "interleaved"
        # What becomes of the frequencies, such as Llama 3.1's scaling; None: nothing.
        scaling: InstantiableConfig | None = None

    def __init__(self, cfg: Config, *, head_dim: int):
        if head_dim % 2:
            raise UserError(
                f"Rotary embedding turns pairs of units, and the head dim is odd: {head_dim}; "
                "change dim or num_heads."
            )
        self.theta = cfg.theta
        self.layout: PairLayout = cfg.layout
        self.head_dim = head_dim
        self.scaling = maybe_instantiate(cfg.scaling)

    def __call__(self, positions_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the float32 sines and cosines, [B, S, R] each."""
        exponents_R = jnp.arange(0, self.head_dim, 2, dtype=jnp.float32) / self.head_dim
        positions_BS1 = positions_BS[..., None].astype(jnp.float32)
        frequencies_R = self.theta**-exponents_R
        if self.scaling is not None:
            frequencies_R = self.scaling(frequencies_R)
        angles_BSR = positions_BS1 * frequencies_R
        return jnp.sin(angles_BSR), jnp.cos(angles_BSR)


def rotate(
    x_BSNH: jax.Array,
    sin_BSR: jax.Array,
    cos_BSR: jax.Array,
    *,
    layout: PairLayout = "interleaved",
) -> jax.Array:
    """Return x with each pair of units turned by its angle.

    Computed in float32, returned in the dtype of x.
    """
    if platform_in_use() == "tpu":
        return _turned(x_BSNH, sin_BSR, cos_BSR, layout)
    x = x_BSNH.astype(jnp.float32)
    sin, cos = sin_BSR[:, :, None], cos_BSR[:, :, None]
    if layout == "interleaved":
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        first, second = pairs[..., 0], pairs[..., 1]
    else:
        first, second = jnp.split(x, 2, axis=-1)
    turned = (first * cos - second * sin, first * sin + second * cos)
    join = jnp.stack if layout == "interleaved" else jnp.concatenate
    return join(turned, axis=-1).reshape(x_BSNH.shape).astype(x_BSNH.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _turned(
    x_BSNH: jax.Array, sin_BSR: jax.Array, cos_BSR: jax.Array, layout: PairLayout
) -> jax.Array:
    """`rotate` for a TPU, where units lie along the lanes of a vector and do not change places.

    The other unit of each pair comes of a product with a matrix of 0, 1 and -1: exact in any dtype,
    less than a hundredth of the operations of the layer, and XLA turns and transposes in one pass.
    """
    others_BSNH = jnp.einsum(
        "BSNH,HG->BSNG",
        x_BSNH,
        _other_units(x_BSNH.shape[-1], layout, x_BSNH.dtype),
        precision=jax.lax.Precision.HIGHEST,
    )
    if layout == "interleaved":
        sin_BSH, cos_BSH = jnp.repeat(sin_BSR, 2, axis=-1), jnp.repeat(cos_BSR, 2, axis=-1)
    else:
        sin_BSH, cos_BSH = jnp.tile(sin_BSR, 2), jnp.tile(cos_BSR, 2)
    x, others = x_BSNH.astype(jnp.float32), others_BSNH.astype(jnp.float32)
    return (x * cos_BSH[:, :, None] + others * sin_BSH[:, :, None]).astype(x_BSNH.dtype)


def _turned_forward(x_BSNH, sin_BSR, cos_BSR, layout):
    return _turned(x_BSNH, sin_BSR, cos_BSR, layout), (sin_BSR, cos_BSR)


def _turned_backward(layout, angles, gradient_BSNH):
    sin_BSR, cos_BSR = angles
    return _turned(gradient_BSNH, -sin_BSR, cos_BSR, layout), None, None


_turned.defvjp(_turned_forward, _turned_backward)


def _other_units(head_dim: int, layout: PairLayout, dtype: jnp.dtype) -> jax.Array:
    """Return the matrix [H, H] by which (a, b), each pair of a vector, becomes (-b, a)."""
    units = np.arange(head_dim)
    first, second = (units[::2], units[1::2]) if layout == "interleaved" else np.split(units, 2)
    matrix = np.zeros((head_dim, head_dim))
    matrix[second, first] = -1
    matrix[first, second] = 1
    return jnp.asarray(matrix, dtype)
