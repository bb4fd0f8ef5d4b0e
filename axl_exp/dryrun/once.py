"""Parts of a step that many steps have alike, traced once for all of them.

The program is the same: calls are written out where they stand (`program.py`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
from flax import nnx
from jax.extend.core import ClosedJaxpr, Primitive
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from axl_exp.model.sharding import axis_rules, rules_in_use
from axl_exp.model.summaries import collect_summaries, is_collecting, record_summary
from axl_exp.model.transformer import RepeatedTransformerLayer

_ONE_DEVICE = AbstractMesh((1,), ("any",), axis_types=(AxisType.Auto,))
# A stack of layers takes about a MiB.
_NUM_KEPT = 128

called_program_p = Primitive("called_program")
"""Calls a program that was traced by itself, its parameter `jaxpr`."""
called_program_p.multiple_results = True
called_program_p.def_abstract_eval(lambda *_, jaxpr: jaxpr.out_avals)


@contextlib.contextmanager
def layers_once() -> Iterator[None]:
    """Trace equal stacks of layers on equal inputs and meshes once, and so their derivatives."""
    call = RepeatedTransformerLayer.__call__

    def call_once(layers: Any, *args: Any, **kwargs: Any) -> Any:
        graph, params = nnx.split(layers)
        rules = rules_in_use()
        rules = None if rules is None else tuple(rules.items())
        traced = _layers(call, graph, rules, is_collecting())
        outputs, summaries = traced(params, args, kwargs)
        for name, value in summaries.items():
            record_summary(name, value)
        return outputs

    with mock.patch.object(RepeatedTransformerLayer, "__call__", call_once):
        yield


@functools.lru_cache(maxsize=_NUM_KEPT)
def _layers(call: Callable, graph: Any, rules: tuple | None, collects: bool) -> Callable:
    @functools.partial(jax.jit, inline=True)
    def layers(params: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        module = nnx.merge(graph, params)
        with axis_rules(None if rules is None else dict(rules)):
            if not collects:
                return call(module, *args, **kwargs), {}
            with collect_summaries() as summaries:
                return call(module, *args, **kwargs), summaries

    return layers


def on_any_mesh(function: Callable) -> Callable:
    """Return `function`, of arrays, traced once for all meshes.

    It may neither ask for the mesh nor be differentiated.
    """
    traced = functools.lru_cache(maxsize=_NUM_KEPT)(functools.partial(_trace, function))

    def call(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        jaxpr, outputs = traced(structure, tuple(map(_without_mesh, leaves)))
        return jax.tree.unflatten(outputs, called_program_p.bind(*leaves, jaxpr=jaxpr))

    return call


def _without_mesh(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    is_on_host = jax.typeof(leaf).memory_space == jax.memory.Space.Host
    kind = "pinned_host" if is_on_host else None
    sharding = NamedSharding(_ONE_DEVICE, PartitionSpec(), memory_kind=kind)
    return jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=sharding, weak_type=jax.typeof(leaf).weak_type
    )


def _trace(
    function: Callable, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]
) -> tuple[ClosedJaxpr, Any]:
    with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
        args = jax.tree.unflatten(structure, leaves)
        jaxpr, outputs = jax.make_jaxpr(function, return_shape=True)(*args)
    return jaxpr, jax.tree.structure(outputs)
