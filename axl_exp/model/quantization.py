"""Quantized training: products of activations with weights in int8 or fp8, by qwix.

Master parameters, activations between products and gradients of parameters stay as they are. Each
product scales its operands by their largest magnitude, multiplies small numbers, and scales back.
"""

import dataclasses
import re
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

# Its public door follows flax modules from call to call and finds weights by identity; here they
# are cast and laid out on the way, so that products ask it one by one.
from qwix._src.core.dot_general_qt import DotGeneralQtConfig, dot_general_qt

from axl_exp.config import ConfigBase, config_class
from axl_exp.errors import UserError
from axl_exp.model.linear import ProductLayer

_DTYPES = ("int8", "float8_e4m3fn", "float8_e5m2")


@config_class
class QuantizationSpec(ConfigBase):
    """Which products are quantized, and to what."""

    # Of activations and weights: int8, float8_e4m3fn or float8_e5m2; None: nothing is quantized.
    forward_dtype: jnp.dtype | None = None
    # Of gradients, in both products of the backward pass, whose other operand is the one of the
    # forward pass as it was quantized; float8_e5m2 has the range that gradients ask for
    # (Micikevicius et al. 2022, arXiv 2209.05433). None: the backward pass is not quantized.
    backward_dtype: jnp.dtype | None = None
    # Regex over paths of layers (those of parameters, without the last name): products that it
    # matches whole. The default is all of the transformer layers, without embedding and head.
    products: str = "decoder/transformer/.*"
    # What shares a scale: the numbers of a token or of a column of the weight, or a whole operand.
    scale_per: Literal["channel", "tensor"] = "channel"


@dataclasses.dataclass(frozen=True)
class QuantizedDotGeneral:
    """A product with quantized operands; as `jax.lax.dot_general`, and hashable as flax needs."""

    forward_dtype: str
    backward_dtype: str | None
    is_per_channel: bool

    def __call__(
        self, x: jax.Array, weight: jax.Array, dimension_numbers: jax.lax.DotDimensionNumbers
    ) -> jax.Array:
        """Return the product, in the dtype of the operands."""
        per_tensor = not self.is_per_channel
        cfg = DotGeneralQtConfig(
            lhs_qtype=self.forward_dtype,
            rhs_qtype=self.forward_dtype,
            lhs_disable_channelwise_axes=per_tensor,
            rhs_disable_channelwise_axes=per_tensor,
            dlhs_grad_qtype=self.backward_dtype,
            drhs_grad_qtype=self.backward_dtype,
            dlhs_grad_disable_channelwise_axes=per_tensor,
            drhs_grad_disable_channelwise_axes=per_tensor,
            use_original_residuals=self.backward_dtype is None,
        )
        return dot_general_qt(x, weight, dimension_numbers, cfg)


def quantize_products(model: Any, spec: QuantizationSpec) -> None:
    """Let the products of `model` that `spec` names multiply as it says.

    Raises:
        UserError: A dtype that is none of the three, no product of this name, or no forward dtype
            beside a backward one.
    """
    dtypes = {"forward_dtype": spec.forward_dtype, "backward_dtype": spec.backward_dtype}
    names = {field: dtype and jnp.dtype(dtype).name for field, dtype in dtypes.items()}
    for field, name in names.items():
        if name is not None and name not in _DTYPES:
            raise UserError(f"model.quantization.{field}: {name} is none of {', '.join(_DTYPES)}.")
    forward, backward = names.values()
    if forward is None:
        if backward is not None:
            raise UserError(
                f"model.quantization.backward_dtype is {backward} and forward_dtype None; set "
                "both, or the forward one alone."
            )
        return
    dot_general = QuantizedDotGeneral(forward, backward, spec.scale_per == "channel")
    layers = {
        "/".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, ProductLayer)
    }
    chosen = [layer for path, layer in layers.items() if re.fullmatch(spec.products, path)]
    if not chosen:
        raise UserError(
            f"model.quantization.products {spec.products!r} matches none of the products "
            f"{', '.join(sorted(layers))}."
        )
    for layer in chosen:
        layer.dot_general = dot_general
