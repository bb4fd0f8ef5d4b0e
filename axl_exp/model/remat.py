"""What the backward pass keeps of the forward pass, by name; it computes the rest again.

The layers name their values: q_proj, k_proj, v_proj, context, o_proj, linear1_0, linear1_1,
linear2. (q_proj and k_proj carry their positions.)
"""

import re
from collections.abc import Callable
from typing import Any

import jax

from axl_exp.config import ConfigBase, config_class


@config_class
class RematSpec(ConfigBase):
    """Which named values of a layer are kept."""

    # Regex over names, such as `[qkvo]_proj|context`: those that it matches whole are kept.
    # The empty one keeps nothing but the layer's input.
    save: str = ""


def rematerialise(body: Callable, *, saved_names: str) -> Callable:
    """Return the `body` of a scan so that the backward pass finds only `saved_names` kept (regex).

    It computes again what else it needs.
    """
    pattern = re.compile(saved_names)

    def is_saved(primitive: Any, *_: Any, **params: Any) -> bool:
        return primitive.name == "name" and pattern.fullmatch(params["name"]) is not None

    # In a scan nothing can be merged with the first computation, so that no barrier is needed.
    return jax.checkpoint(body, prevent_cse=False, policy=is_saved)
