"""What the backward pass keeps of the forward pass, by name; it computes the rest again.

The layers name their values: input (of the whole layer), q_proj, k_proj, v_proj, context, o_proj,
linear1_0, linear1_1, linear2; flash_residuals where splash attention runs. (q_proj and k_proj carry
their positions. A layer's input is kept whatever the names say, unless it is offloaded.)
"""

import re
from collections.abc import Callable
from typing import Any

import jax

from axl_exp.config import ConfigBase, ConfigError, config_class


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


def rematerialise(body: Callable, *, save: str, offload: str, offload_dst: str) -> Callable:
    """Return the `body` of a scan so that the backward pass finds only what is named.

    It computes again what else it needs. The arguments are those of `RematSpec`.

    Raises:
        ConfigError: One of them is no pattern.
    """
    for name, pattern in (("save", save), ("offload", offload)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"remat_spec.{name} is no pattern: {pattern!r} ({error})") from error

    def policy(primitive: Any, *args: Any, **params: Any) -> Any:
        name = params["name"] if primitive.name == "name" else ""
        saved = name and re.fullmatch(save, name)
        offloaded = name and not saved and re.fullmatch(offload, name)
        decide = jax.checkpoint_policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[name] if saved else [],
            names_which_can_be_offloaded=[name] if offloaded else [],
            offload_src="device",
            offload_dst=offload_dst,
        )
        return decide(primitive, *args, **params)

    # In a scan nothing can be merged with the first computation, so that no barrier is needed.
    return jax.checkpoint(body, prevent_cse=False, policy=policy)
