"""The state of every learner lies on the mesh like its parameters, and survives a restart."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from axl_exp.config import config_for_function
from axl_exp.optim import (
    adafactor,
    adamw,
    adastar_optimizer,
    constant,
    drop_norm_by_grad_norm_stddev,
    lion,
    muon,
    param_ema,
    sgd,
    skip_and_clip_by_global_norm,
)
from axl_exp.registry import load_config
from axl_exp.train.checkpointer import Checkpointer
from tests.optim.random_runs import as_tree, learner_of, random_arrays

ADASTAR = {
    "gradient_ema_decay": None,
    "gradient_ema_debias": None,
    "gradient_square_ema_decay": 0.95,
    "gradient_square_ema_debias": True,
    "eps": 0,
    "eps_square": 1e-30,
    "raw_update_clipping_threshold": 1.0,
    "update_ema_decay": 0.95,
    "update_ema_debias": False,
}
OPTIMIZERS = [
    (adamw, {}),
    (lion, {}),
    (sgd, {"momentum": 0.9}),
    (adafactor, {"min_dim_size_to_factor": 2}),
    (muon, {}),
    (adastar_optimizer, ADASTAR),
]


def optimizer(fn, fields):
    inner = config_for_function(fn).set(
        learning_rate=0.01, update_schedule=config_for_function(constant), **fields
    )
    return config_for_function(skip_and_clip_by_global_norm).set(
        inner=inner, drop_norm=config_for_function(drop_norm_by_grad_norm_stddev), max_norm=1.0
    )


@pytest.mark.parametrize(("fn", "fields"), OPTIMIZERS)
def test_a_restored_state_goes_on_as_if_nothing_had_happened(fn, fields, tmp_path):
    learner = learner_of(
        optimizer(fn, fields),
        frozen_params=("norm/scale",),
        ema=config_for_function(param_ema).set(decay=0.9),
    )
    update = jax.jit(learner.update)
    gradients = [as_tree(random_arrays(step)) for step in range(4)]
    params = as_tree(random_arrays(9))
    state = learner.init(params)
    for g in gradients[:2]:
        params, state, _ = update(g, state, params)

    checkpointer = Checkpointer.default_config().instantiate(directory=tmp_path / "checkpoints")
    checkpointer.save(2, state={"params": params, "opt_state": state}, data_state={})
    checkpointer.wait()
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        {"params": params, "opt_state": state},
    )
    restored = checkpointer.restore(abstract)
    checkpointer.close()
    again = (restored.state["params"], restored.state["opt_state"])
    assert jax.tree.structure(again[1]) == jax.tree.structure(state)
    for g in gradients[2:]:
        params, state, _ = update(g, state, params)
        again = update(g, again[1], again[0])[:2]
    jax.tree.map(np.testing.assert_array_equal, again, (params, state))


# Of the 9 parameters, 5 are matrices of layers and 3 are scales of norms.
@pytest.mark.parametrize(
    ("fn", "fields", "num_moments"),
    [
        (*case, count)
        for case, count in zip(OPTIMIZERS, (2 * 9, 9, 9, 3, 5 + 2 * 4, 2 * 9), strict=True)
    ],
)
def test_a_trainer_lays_out_the_state_like_the_parameters(fn, fields, num_moments):
    """Muon must know logical axes too: the trainer tells the learner."""
    cfg = load_config("fuji-tiny").config.clone()
    decoder = cfg.model.decoder.set(vocab_size=64, dim=32)
    decoder.transformer.num_layers = 2
    cfg.set(evalers={})
    cfg.learner.set(optimizer=optimizer(fn, fields), gradient_clipping=None)
    state = cfg.instantiate(devices=jax.devices()[:1]).abstract_state

    def with_names(tree):
        keyed = jax.tree_util.tree_leaves_with_path(tree)
        return [("/".join(str(k.key) for k in keys if hasattr(k, "key")), x) for keys, x in keyed]

    params = dict(with_names(state.params))
    moments = 0
    for name, leaf in with_names(state.opt_state):
        param = next((p for path, p in params.items() if name.endswith(path)), None)
        if param is not None and param.shape == leaf.shape:
            assert leaf.sharding == param.sharding, name
            moments += 1
        else:
            assert leaf.sharding.spec == PartitionSpec(), name
    assert moments == num_moments
