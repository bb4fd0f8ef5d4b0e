"""What the tests of weights going out and in share."""

import functools
from collections.abc import Callable

import jax
import pytest


@pytest.fixture(scope="session")
def compiled() -> Callable:
    """`jax.jit`, with a compiler that takes half the time because it optimises less."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
