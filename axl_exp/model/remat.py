"""What the backward pass keeps of the forward pass, by name; it computes the rest again.

The layers name their values: input (of the whole layer), q_proj, k_proj, v_proj, context, o_proj,
linear1_0, linear1_1, linear2; flash_residuals, what the backward kernel of splash or cuDNN
attention needs besides queries, keys and values: a layer that keeps it never runs the forward
kernel twice, and has no use for context. (q_proj and k_proj carry their positions. A layer's input
is kept whatever the names say, unless it is offloaded.)
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.ad_checkpoint import Offloadable, Recompute, Saveable

from axl_exp.config import ConfigBase, ConfigError, config_class

FLASH_RESIDUALS = "flash_residuals"


@config_class
class RematSpec(ConfigBase):
    """Which named values of a layer are kept, and where."""

    # Regex over names, such as `[qkvo]_proj|context`: those that it matches whole stay on the
    # device. The empty one keeps nothing but the layer's input.
    save: str = ""
    # Regex over names: those that it matches whole, and `save` does not, wait in other memory.
    offload: str = ""
    # That memory: the one of the host that a device copies to and from by itself.
    offload_dst: str = "pinned_host"


# JAX runs cuDNN within a function that has derivatives of its own, where nothing can be named: what
# its forward kernel puts out, the contexts and their logsumexps, is told by the operation.
_NAMES_OF_KERNELS = {"dot_product_attention_fwd_wrapper": FLASH_RESIDUALS}


def name_of_values(primitive: str, params: Mapping[str, Any]) -> str:
    """Return the name of what an operation of a traced program puts out; '' if it has none."""
    return params["name"] if primitive == "name" else _NAMES_OF_KERNELS.get(primitive, "")


def rematerialise(
    body: Callable, *, save: str, offload: str, offload_dst: str, in_loop: bool
) -> Callable:
    """Return the `body` of a scan so that the backward pass finds only what is named.

    It computes again what else it needs. The arguments are those of `RematSpec`, and:

    Args:
        in_loop: Whether the scan stays a loop. Of layers that follow each other XLA merges the
            second computation with the first, and keeps all of it, unless a barrier is between.

    Raises:
        ConfigError: One of them is no pattern.
    """
    for name, pattern in (("save", save), ("offload", offload)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"remat_spec.{name} is no pattern: {pattern!r} ({error})") from error

    def policy(primitive: Any, *_: Any, **params: Any) -> Any:
        name = name_of_values(primitive.name, params)
        if name and re.fullmatch(save, name):
            return Saveable
        if name and re.fullmatch(offload, name):
            return Offloadable(src="device", dst=offload_dst)
        return Recompute

    return jax.checkpoint(body, prevent_cse=not in_loop, policy=policy)
