"""Tracing for GPUs where cuDNN is not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from jax._src.cudnn import fused_attention_stablehlo

# The first version with all that our attention uses, as JAX writes versions: 9.10.
_VERSION = 91000


@contextlib.contextmanager
def as_if_cudnn_were_here() -> Iterator[None]:
    """Let JAX trace attention by cuDNN without the library, which only a GPU's compiler needs.

    JAX asks for its version while it traces, to refuse what an old one cannot do. There is no
    public way to say for which version it should trace.
    """
    if getattr(fused_attention_stablehlo, "cuda_versions", None) is not None:
        yield
        return
    with mock.patch.object(fused_attention_stablehlo, "check_cudnn_version", lambda: _VERSION):
        yield
