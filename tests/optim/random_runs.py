"""Random runs of a learner on a stack of layers and a vector, and what repeats them in NumPy.

Plain dicts from path to float64 array stand for trees there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from axl_exp.optim import Learner

SHAPES = {"stack/weight": (3, 4, 2), "norm/scale": (5,)}
LOGICAL_AXES = {"stack/weight": ("layers", "embed", "feed_forward"), "norm/scale": ("norm",)}


def random_arrays(seed, *, size=1.0):
    rng = np.random.default_rng(seed)
    return {path: (size * rng.normal(size=shape)) for path, shape in SHAPES.items()}


def as_tree(arrays):
    tree = {}
    for path, array in arrays.items():
        parent, name = path.split("/")
        tree.setdefault(parent, {})[name] = jnp.asarray(array, jnp.float32)
    return tree


def as_arrays(tree):
    return {
        f"{a}/{b}": np.asarray(x, np.float64) for a, sub in tree.items() for b, x in sub.items()
    }


def global_norm(arrays):
    return np.sqrt(sum((x**2).sum() for x in arrays.values()))


def rms(x):
    return np.sqrt((x**2).mean())


def learner_of(optimizer, **fields) -> Learner:
    cfg = Learner.default_config().set(optimizer=optimizer, **fields)
    return cfg.instantiate(logical_axes=LOGICAL_AXES)


def run(learner, gradients):
    """Yield (params, state, summaries) after each of the gradients, from fixed parameters."""
    update = jax.jit(learner.update)
    params = as_tree(random_arrays(0))
    state = learner.init(params)
    for g in gradients:
        params, state, summaries = update(as_tree(g), state, params)
        yield params, state, {name: value.item() for name, value in summaries.items()}


def assert_close(tree, arrays, *, rtol=1e-4, atol=1e-5):
    for path, array in as_arrays(tree).items():
        np.testing.assert_allclose(array, arrays[path], rtol=rtol, atol=atol, err_msg=path)
