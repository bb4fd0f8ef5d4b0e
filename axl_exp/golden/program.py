"""What a trainer config is going to compute with: its parameters and its updates, traced once.

Nothing is allocated and no device is touched, whatever the size. Configs that share a model or a
learner share the trace.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from axl_exp.config import ConfigBase
from axl_exp.config.text import config_text
from axl_exp.golden.traced import NotTraceableError, TracedProgram
from axl_exp.model import FlopsPerToken, flops_per_token
from axl_exp.optim.context import learner_context


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter of a model."""

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    """The logical axis of each dim."""
    init: str
    """How it is drawn: `normal(0.01563)` with its standard deviation, or the constant."""

    @property
    def size(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Update:
    """What a learner does to the parameters."""

    learning_rate: Callable[[int], float]
    """From a step, counted from 1. Raises NotTraceableError where it is not a function of it."""
    weight_decay: dict[str, float]
    """By path: what an update takes away of the parameter where the schedule is 1."""
    update_scale: dict[str, float]
    """By path: what an update is multiplied with besides the learning rate."""


class Programs:
    """Traces models and learners, each once however many configs have it."""

    def __init__(self):
        self._models: dict[str, tuple[dict[str, Param], Any]] = {}
        self._updates: dict[tuple, Update] = {}
        self._flops: dict[tuple[str, int], FlopsPerToken] = {}

    def params(self, cfg: Any) -> dict[str, Param]:
        """Return the parameters of a trainer config by path: `decoder/emb/token_emb/weight`."""
        return self._model(cfg.model)[0]

    def flops_per_token(self, cfg: Any) -> FlopsPerToken:
        """Return the operations per token of a trainer config, at its sequence length."""
        sequence_length = cfg.input.max_sequence_length
        key = (config_text(cfg.model), sequence_length)
        if key not in self._flops:
            self._flops[key] = flops_per_token(cfg.model, sequence_length=sequence_length)
        return self._flops[key]

    def update(self, cfg: Any) -> Update:
        """Return what the learner of a trainer config does to its parameters."""
        params, tree = self._model(cfg.model)
        # No size of a parameter has a part in it.
        key = (config_text(cfg.learner), *((path, p.axes) for path, p in params.items()))
        if key not in self._updates:
            self._updates[key] = _trace_update(cfg.learner, params, tree)
        return self._updates[key]

    def learner_state_bytes(self, cfg: Any) -> int:
        """Return the bytes of what the learner of a trainer config carries between steps."""
        params, tree = self._model(cfg.model)
        state = jax.eval_shape(_learner(cfg.learner, params).init, tree)
        leaves = jax.tree.leaves(state)
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    def _model(self, cfg: ConfigBase) -> tuple[dict[str, Param], Any]:
        key = config_text(cfg)
        if key not in self._models:
            self._models[key] = _trace_model(cfg)
        return self._models[key]


def _trace_model(cfg: Any) -> tuple[dict[str, Param], Any]:
    axes: dict[str, tuple[str, ...]] = {}

    def init(key: Any) -> Any:
        state = nnx.state(cfg.instantiate(rngs=nnx.Rngs(key)), nnx.Param)
        for keys, param in nnx.to_flat_state(state):
            axes["/".join(map(str, keys))] = param.get_metadata()["logical_axes"]
        return nnx.to_pure_dict(state)

    key = jax.eval_shape(functools.partial(jax.random.key, 0))
    closed, tree = jax.make_jaxpr(init, return_shape=True)(key)
    program = TracedProgram(closed.jaxpr, closed.consts)
    params = {}
    for i, (path, leaf) in enumerate(_leaves(tree)):
        params[path] = Param(leaf.shape, str(leaf.dtype), axes[path], program.start(i))
    return params, tree


def _trace_update(cfg: Any, params: dict[str, Param], tree: Any) -> Update:
    learner = _learner(cfg, params)
    state = jax.eval_shape(learner.init, tree)
    with learner_context(None) as context:
        # The function is new for each trace: JAX would else answer from its cache, in silence.
        traced = jax.make_jaxpr(lambda *args: learner.update(*args), return_shape=True)
        closed, output = traced(tree, state, tree)
    program = TracedProgram(closed.jaxpr, closed.consts)
    rates = [
        i
        for i, (keys, _) in enumerate(jax.tree_util.tree_leaves_with_path(output))
        if getattr(keys[-1], "key", None) == "learning_rate"
    ]

    def learning_rate(step: int) -> float:
        if not rates:
            raise NotTraceableError("what the learner does not report")
        return program.scalar(rates[0], inputs=step - 1)

    return Update(
        learning_rate=learning_rate,
        weight_decay=context.param_factors.get("weight_decay", {}),
        update_scale=context.param_factors.get("update_scale", {}),
    )


def _learner(cfg: Any, params: dict[str, Param]) -> Any:
    return cfg.instantiate(logical_axes={path: param.axes for path, param in params.items()})


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    return [
        ("/".join(str(key.key) for key in keys), leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
