"""The state of training."""

import jax.numpy as jnp

from axl_exp.train.state import all_finite


def test_one_nan_or_infinity_anywhere_is_found():
    assert all_finite({"a": jnp.ones((3, 4)), "b": {"c": jnp.zeros(5)}})
    assert not all_finite({"a": jnp.ones((3, 4)), "b": {"c": jnp.zeros(5).at[2].set(jnp.nan)}})
    assert not all_finite({"a": jnp.ones((3, 4)).at[0, 0].set(-jnp.inf)})
