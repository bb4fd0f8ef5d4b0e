"""A traced step as a flat list of operations on values: what the analysis of a dry run reads.

Calls are written out where they stand and what nobody uses is left out, as XLA does first. Loops
and the like keep their bodies.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend import core

# Primitives that call one program with their own operands, and where they keep it.
_CALLS = {
    "called_program": "jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_lin": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """An array of the program; equal to itself alone."""

    shape: tuple[int, ...]
    dtype: Any
    on_host: bool = False
    is_constant: bool = False
    """One element, known beforehand: it takes no memory."""

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return getattr(self.dtype, "itemsize", 4)  # Keys of random numbers have no itemsize.


@dataclasses.dataclass(frozen=True, eq=False)
class Op:
    """One operation."""

    name: str
    params: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    where: str
    """The stack of names at its source: `transpose(jvp())/attention`."""

    @functools.cached_property
    def body(self) -> Program:
        """The program of a loop, a branch or a per-device part."""
        if "jaxpr" in self.params:
            inner = self.params["jaxpr"]
            return inner if isinstance(inner, Program) else read_program(inner)
        if "branches" in self.params:
            longest = max(self.params["branches"], key=lambda branch: len(branch.jaxpr.eqns))
            return read_program(longest)
        return read_program(self.params["body_jaxpr"])


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Operations in order."""

    inputs: tuple[Value, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Value, ...]

    def part(self, outputs: Sequence[Value]) -> Program:
        """Return what makes `outputs` of it, with all inputs."""
        return Program(self.inputs, tuple(_without_unused(self.ops, outputs)), tuple(outputs))


def read_program(jaxpr: Any) -> Program:
    """Return the program of a jaxpr, closed or open; its constants become the first inputs."""
    open_jaxpr = jaxpr.jaxpr if hasattr(jaxpr, "consts") else jaxpr
    of_var: dict[Any, Value] = {}
    inputs = [_new(of_var, var) for var in (*open_jaxpr.constvars, *open_jaxpr.invars)]
    ops: list[Op] = []
    _read(open_jaxpr, of_var, ops)
    outputs = tuple(_value(of_var, atom) for atom in open_jaxpr.outvars)
    return Program(tuple(inputs), tuple(_without_unused(ops, outputs)), outputs)


def _read(jaxpr: Any, of_var: dict[Any, Value], ops: list[Op], within: str = "") -> None:
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        where = "/".join(filter(None, (within, str(eqn.source_info.name_stack))))
        inputs = [_value(of_var, atom) for atom in eqn.invars]
        called = eqn.params.get(_CALLS.get(name, ""))
        if called is not None:
            inner = called.jaxpr if hasattr(called, "consts") else called
            # A program may be called twice: its variables mean other values each time.
            of_inner: dict[Any, Value] = dict(zip(inner.invars, inputs, strict=True))
            for var in inner.constvars:
                _new(of_inner, var)
            _read(inner, of_inner, ops, where)
            for var, atom in zip(eqn.outvars, inner.outvars, strict=True):
                of_var[var] = _value(of_inner, atom)
        else:
            outputs = tuple(_new(of_var, var) for var in eqn.outvars)
            ops.append(Op(name, eqn.params, tuple(inputs), outputs, where))


def _new(of_var: dict[Any, Value], var: Any) -> Value:
    aval = var.aval
    on_host = "host" in str(getattr(aval, "memory_space", "")).lower()
    value = Value(tuple(getattr(aval, "shape", ())), getattr(aval, "dtype", np.float32), on_host)
    of_var[var] = value
    return value


def _value(of_var: dict[Any, Value], atom: Any) -> Value:
    if isinstance(atom, core.Literal):
        return Value((), getattr(atom.aval, "dtype", np.float32), is_constant=True)
    return of_var[atom]


def _without_unused(ops: Sequence[Op], outputs: Sequence[Value]) -> list[Op]:
    used = set(outputs)
    kept = []
    for op in reversed(ops):
        if used.isdisjoint(op.outputs):
            continue
        kept.append(op)
        used.update(op.inputs)
    return kept[::-1]
