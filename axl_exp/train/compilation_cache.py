"""Compiled programs that outlive their process."""

import jax

from axl_exp.run.home import home


def keep_compiled_programs() -> None:
    """Keep compiled programs between launches; the user's own setting of the cache wins."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore
        jax.config.update("jax_compilation_cache_dir", str(home() / "compilation_cache"))
        # JAX's default leaves out what compiles in under a second: half of a warm start.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
