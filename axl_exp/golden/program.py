"""What a trainer config is going to compute with: its parameters and its updates, traced once.

Nothing is allocated and no device is touched, whatever the size. Configs that share a model or a
learner share the trace.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from axl_exp.config.text import config_text, flatten
from axl_exp.golden.traced import NotTraceableError, TracedProgram
from axl_exp.model import FlopsPerToken
from axl_exp.model.flops import model_flops_per_token
from axl_exp.optim.context import learner_context
from axl_exp.optim.state_layout import like_params

# Fields of a model that say how it multiplies, not what its parameters are: variants share traces.
_HOW = re.compile(
    r"quantization(\..*)?|loss_chunk_tokens|.*\.(remat_spec(\..*)?|unroll)"
    r"|.*\.attention\.(backend|splash(\..*)?)"
)


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


@dataclasses.dataclass(frozen=True)
class Model:
    """What a model is, without its weights."""

    params: dict[str, Param]
    """By path: `decoder/emb/token_emb/weight`."""
    flops_per_token: FlopsPerToken
    tree: Any
    """The parameters as a nested dict of `ShapeDtypeStruct`s."""


@dataclasses.dataclass(frozen=True)
class Array:
    """An array that is kept between steps."""

    shape: tuple[int, ...]
    itemsize: int
    axes: tuple[str, ...]
    """The logical axis of each dim; none where every device has it whole."""


@dataclasses.dataclass(frozen=True)
class AtRest:
    """What a trainer carries from step to step."""

    params: tuple[Array, ...]
    opt_state: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class _Axes:
    """Logical axes as one leaf of a tree."""

    names: tuple[str, ...]


class Programs:
    """Traces models and learners, each once however many configs have it."""

    def __init__(self):
        self._models: dict[tuple[Any, int], Model] = {}
        self._updates: dict[tuple, Update] = {}
        self._of_any_length: dict[Any, Model] = {}
        self._at_rest: dict[tuple, AtRest] = {}

    def model(self, cfg: Any) -> Model:
        """Return the model of a trainer config, at its sequence length."""
        sequence_length = cfg.input.max_sequence_length
        told = _told(cfg.model)
        key = (told, sequence_length)
        if key not in self._models:
            self._models[key] = _trace_model(cfg.model, sequence_length)
            self._of_any_length.setdefault(told, self._models[key])
        return self._models[key]

    def update(self, cfg: Any) -> Update:
        """Return what the learner of a trainer config does to its parameters."""
        model = self.model(cfg)
        # No size of a parameter has a part in it.
        axes = ((path, param.axes) for path, param in model.params.items())
        key = (config_text(cfg.learner), *axes)
        if key not in self._updates:
            self._updates[key] = _trace_update(cfg.learner, model)
        return self._updates[key]

    def at_rest(self, cfg: Any) -> AtRest:
        """Return what a trainer of the config carries between steps, and along what it can lie."""
        told = _told(cfg.model)
        model = self._of_any_length.get(told) or self.model(cfg)
        key = (told, config_text(cfg.learner))
        if key not in self._at_rest:
            state = jax.eval_shape(_learner(cfg.learner, model).init, model.tree)
            axes = {path: _Axes(param.axes) for path, param in model.params.items()}
            nested = jax.tree.unflatten(
                jax.tree.structure(model.tree), [axes[path] for path, _ in _leaves(model.tree)]
            )
            whole = _Axes(())
            of_state = like_params(state, params=model.tree, values=nested, other=whole)
            leaves = zip(jax.tree.leaves(state), jax.tree.leaves(of_state), strict=True)
            self._at_rest[key] = AtRest(
                params=tuple(
                    Array(param.shape, np.dtype(param.dtype).itemsize, param.axes)
                    for param in model.params.values()
                ),
                opt_state=tuple(
                    Array(leaf.shape, leaf.dtype.itemsize, axes.names) for leaf, axes in leaves
                ),
            )
        return self._at_rest[key]

    def learner_state_bytes(self, cfg: Any) -> int:
        """Return the bytes of what the learner of a trainer config carries between steps."""
        model = self.model(cfg)
        state = jax.eval_shape(_learner(cfg.learner, model).init, model.tree)
        leaves = jax.tree.leaves(state)
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def _told(cfg: Any) -> Any:
    """What of a model's config decides about its parameters."""
    return tuple(line for line in flatten(cfg).items() if not _HOW.fullmatch(line[0]))


def _trace_model(cfg: Any, sequence_length: int) -> Model:
    axes: dict[str, tuple[str, ...]] = {}
    flops: list[FlopsPerToken] = []

    def init(key: Any) -> Any:
        model = cfg.instantiate(rngs=nnx.Rngs(key))
        flops.append(model_flops_per_token(model, sequence_length=sequence_length))
        state = nnx.state(model, nnx.Param)
        for keys, param in nnx.to_flat_state(state):
            axes["/".join(map(str, keys))] = param.get_metadata()["logical_axes"]
        return nnx.to_pure_dict(state)

    key = jax.eval_shape(functools.partial(jax.random.key, 0))
    closed, tree = jax.make_jaxpr(init, return_shape=True)(key)
    program = TracedProgram(closed.jaxpr, closed.consts)
    params = {}
    for i, (path, leaf) in enumerate(_leaves(tree)):
        params[path] = Param(leaf.shape, str(leaf.dtype), axes[path], program.start(i))
    return Model(params, flops[0], tree)


def _trace_update(cfg: Any, model: Model) -> Update:
    learner = _learner(cfg, model)
    # As small as they can be: sizes change nothing here, and JAX traces equal shapes but once.
    tree = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((2,) * len(leaf.shape), leaf.dtype), model.tree
    )
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


def _learner(cfg: Any, model: Model) -> Any:
    return cfg.instantiate(logical_axes={path: p.axes for path, p in model.params.items()})


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    return [
        ("/".join(str(key.key) for key in keys), leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
