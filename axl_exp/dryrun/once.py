"""Parts of a step that many steps have alike, traced once for all of them.

The program is the same, but for whether what is known beforehand, such as ones, is made before a
loop or in it: calls are written out where they stand (`program.py`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
from flax import nnx
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Literal, Primitive
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from axl_exp.model.quantization import QuantizedDotGeneral
from axl_exp.model.sharding import axis_rules, rules_in_use
from axl_exp.model.summaries import collect_summaries, is_collecting, record_summary
from axl_exp.model.transformer import RepeatedTransformerLayer

_ONE_DEVICE = AbstractMesh((1,), ("any",), axis_types=(AxisType.Auto,))
# A stack of layers takes about a MiB, a product some KiB.
_NUM_KEPT = 128
_NUM_PRODUCTS_KEPT = 1024
_MULTIPLY = QuantizedDotGeneral.__call__

called_program_p = Primitive("called_program")
"""Calls a program that was traced by itself, its parameter `jaxpr`."""
called_program_p.multiple_results = True


@called_program_p.def_abstract_eval
def _outputs(*_: Any, jaxpr: ClosedJaxpr) -> list[ShapedArray]:
    # As the mesh in use has them, not the one that the program was traced on.
    return [
        ShapedArray(x.shape, x.dtype, weak_type=x.weak_type, memory_space=x.memory_space)
        for x in jaxpr.out_avals
    ]


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


@contextlib.contextmanager
def quantized_products_once() -> Iterator[None]:
    """Trace equal quantized products, and what they are backward, once for all meshes."""

    def call_once(
        dot_general: QuantizedDotGeneral,
        x: jax.Array,
        weight: jax.Array,
        dimension_numbers: jax.lax.DotDimensionNumbers,
    ) -> jax.Array:
        pairs = tuple(tuple(map(tuple, pair)) for pair in dimension_numbers)
        return _quantized_product(dot_general, pairs)(x, weight)

    with mock.patch.object(QuantizedDotGeneral, "__call__", call_once):
        yield


@functools.lru_cache(maxsize=_NUM_KEPT)
def _quantized_product(dot_general: QuantizedDotGeneral, dimension_numbers: Any) -> Callable:
    def product(x: jax.Array, weight: jax.Array) -> jax.Array:
        return _MULTIPLY(dot_general, x, weight, dimension_numbers)

    once = functools.partial(on_any_mesh, num_kept=_NUM_PRODUCTS_KEPT)
    call = jax.custom_vjp(once(product))
    call.defvjp(
        once(functools.partial(jax.vjp, product)),
        once(lambda backward, gradient: backward(gradient)),
    )
    return call


def on_any_mesh(function: Callable, *, num_kept: int = _NUM_KEPT) -> Callable:
    """Return `function`, of arrays, traced once for all meshes; it is kept for so many shapes.

    It may neither ask for the mesh nor be differentiated.
    """
    traced = functools.lru_cache(maxsize=num_kept)(functools.partial(_trace, function))

    def call(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        jaxpr, output_structure = traced(structure, tuple(map(_without_mesh, leaves)))
        of_input = dict(zip(jaxpr.jaxpr.invars, leaves, strict=True))
        made = called_program_p.bind(*leaves, jaxpr=jaxpr)
        # What goes through it is what went in: JAX is not to keep it as another value.
        outputs = [
            x if isinstance(var, Literal) else of_input.get(var, x)
            for var, x in zip(jaxpr.jaxpr.outvars, made, strict=True)
        ]
        return jax.tree.unflatten(output_structure, outputs)

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
    assert not jaxpr.consts  # They would have to be passed on.
    return jaxpr, jax.tree.structure(outputs)
