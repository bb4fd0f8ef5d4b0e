"""What the tests of generation share."""

import functools
from collections.abc import Callable

import jax
import pytest


@pytest.fixture(scope="session")
def compiled() -> Callable:
    """`jax.jit`, with a compiler that takes half the time because it optimises less."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(autouse=True)
def _no_cache_of_programs(monkeypatch):
    """The command keeps compiled programs for the next one: a setting of the whole process."""
    name = "axl_exp.train.compilation_cache.keep_compiled_programs"
    monkeypatch.setattr(name, lambda: None)
