"""Which implementation computes the core of attention: the hardware's own, or plain JAX."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from axl_exp.config import ConfigBase, config_class
from axl_exp.errors import UserError

# "auto": the kernel of the hardware if it can compute this layer, else "xla"; a launch says which
# and why. "flash": that kernel, or an error. "xla": plain JAX, on any hardware. "cudnn": cuDNN's
# flash attention, on GPUs. "splash": JAX's splash attention, on TPUs. "blocks": plain JAX by blocks
# of queries, the kernel of CPUs.
BackendName = Literal["auto", "flash", "xla", "cudnn", "splash", "blocks"]
KernelName = Literal["cudnn", "splash", "blocks"]

_GPU = ("gpu", "cuda")
# Splash attention works on blocks of whole vector registers.
LANES = 128


@config_class
class SplashSpec(ConfigBase):
    """How splash attention divides its work; every size is lowered to what divides a sequence.

    What is None is chosen by the case (`splash_blocks.py`).
    """

    # Queries and keys of a block, forward; multiples of 128.
    block_q: int | None = None
    block_kv: int | None = None
    # The same of the backward pass.
    block_q_backward: int | None = None
    block_kv_backward: int | None = None
    # Keys of a block that are multiplied at a time, in both passes.
    block_kv_compute: int | None = None
    # One backward kernel in place of two: fewer operations, and more memory for parts of sums.
    fused_backward: bool | None = None
    # Run the kernel in Pallas' interpreter, slowly, on any hardware: to try it out.
    interpret: bool = False


class BackendError(UserError):
    """An attention backend that cannot compute the layer, or not here."""


@dataclasses.dataclass(frozen=True)
class AttentionCase:
    """What a backend must be able to do in one layer of one program."""

    platform: str
    """As `jax.Device.platform` has it."""
    dtype: Any
    sequence_length: int
    num_kv_heads: int
    head_dim: int
    num_head_shards: int = 1
    """Devices that share the heads, by the mesh."""
    num_sequence_shards: int = 1
    has_logit_cap: bool = False
    has_logit_bias: bool = False
    has_dropout: bool = False
    interpret: bool = False
    """Whether splash attention is interpreted."""


@dataclasses.dataclass(frozen=True)
class Backend:
    """The implementation that runs."""

    name: Literal["xla"] | KernelName
    why: str
    """In words, for the plan of a run."""


def choose_backend(name: BackendName, case: AttentionCase) -> Backend:
    """Return what `attention.backend` means here.

    Raises:
        BackendError: It names a kernel that cannot compute the case; the message says what stands
            against it, and what to set.
    """
    if name == "xla":
        return Backend("xla", "as attention.backend says")
    of_hardware = _KERNEL_OF.get(case.platform)
    kernel = of_hardware if name == "auto" or name == "flash" else name
    if kernel is None:
        if name == "flash":
            raise BackendError(
                f"attention.backend is 'flash', but {case.platform} has no flash attention kernel; "
                "set it to 'auto' or 'xla'."
            )
        return Backend("xla", f"{case.platform} has no flash attention kernel")
    obstacle = _common_obstacle(case) or _OBSTACLE_TO[kernel](case)
    if obstacle is None:
        return Backend(kernel, f"the kernel of {case.platform}")
    if name == "auto":
        return Backend("xla", f"{kernel} cannot: {obstacle}")
    raise BackendError(
        f"attention.backend is {name!r}, but {obstacle}; change that, or set it to 'auto' or 'xla'."
    )


def _common_obstacle(case: AttentionCase) -> str | None:
    if case.has_dropout:
        return "no kernel has probabilities that attention.dropout.rate above 0.0 could zero"
    if case.has_logit_bias:
        return "no kernel adds an attention.logit_bias such as ALiBi"
    if case.num_kv_heads % case.num_head_shards:
        return (
            f"num_kv_heads {case.num_kv_heads} does not divide over the {case.num_head_shards} "
            "devices that mesh_shape.model gives the heads"
        )
    return None


def _obstacle_to_cudnn(case: AttentionCase) -> str | None:
    if case.platform not in _GPU:
        return f"cudnn runs on GPUs alone, not on {case.platform}"
    if case.dtype not in (jnp.bfloat16, jnp.float16):
        return f"cudnn takes bfloat16 or float16, and train_dtype is {jnp.dtype(case.dtype).name}"
    if case.has_logit_cap:
        return "cudnn has no attention.logit_cap"
    if case.head_dim % 8 or case.head_dim > 256:
        return (
            "cudnn wants a head dim up to 256 that divides by 8, and decoder.dim / num_heads is "
            f"{case.head_dim}"
        )
    if case.sequence_length % 2:
        return f"cudnn wants an even max_sequence_length, and it is {case.sequence_length}"
    if case.num_sequence_shards > 1:
        return f"cudnn wants whole sequences, and mesh_shape.seq is {case.num_sequence_shards}"
    return None


def _obstacle_to_splash(case: AttentionCase) -> str | None:
    if case.platform != "tpu" and not case.interpret:
        return f"splash runs on TPUs, not on {case.platform}"
    if case.sequence_length % (LANES * case.num_sequence_shards):
        return (
            f"splash wants a max_sequence_length that divides by {LANES} on every device of "
            f"mesh_shape.seq, and it is {case.sequence_length} over {case.num_sequence_shards}"
        )
    return None


def _obstacle_to_blocks(case: AttentionCase) -> str | None:
    if case.num_sequence_shards > 1:
        return f"blocks are of whole sequences, and mesh_shape.seq is {case.num_sequence_shards}"
    return None


_KERNEL_OF: dict[str, KernelName] = {
    "cpu": "blocks",
    "cuda": "cudnn",
    "gpu": "cudnn",
    "tpu": "splash",
}
_OBSTACLE_TO = {
    "blocks": _obstacle_to_blocks,
    "cudnn": _obstacle_to_cudnn,
    "splash": _obstacle_to_splash,
}
