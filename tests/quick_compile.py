"""`jax.jit` for programs that are compiled once and run little."""

import functools

import jax

# XLA's CPU backend takes half the time, since it optimises less; products run as fast as ever.
QUICK_OPTIONS = {"xla_backend_optimization_level": 0}
quick_jit = functools.partial(jax.jit, compiler_options=QUICK_OPTIONS)
