"""Settings that every test shares."""

from __future__ import annotations

import os
import tempfile

import pytest

# Where libtpu is installed, JAX would look for a TPU in every process and complain of none.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# XLA's CPU backend then takes half the time to compile, since it optimises less; products run as
# fast as ever. Processes that tests start inherit it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session", autouse=True)
def _own_home():
    """Give the tests a home of their own: no test reads or writes the user's caches."""
    if "AXL_EXP_HOME" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="axl_exp_home_") as path:
        os.environ["AXL_EXP_HOME"] = path
        yield
        del os.environ["AXL_EXP_HOME"]
