"""Facts read from traced programs: how parameters start, and the learning rate of a step.

Nothing runs on a device. A program is traced with shapes alone, and what is asked of it is followed
back from its output; scalars on the way are computed here, in Python's own floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core


def _divided(x: Any, y: Any) -> Any:
    """Return x / y as XLA has it: towards zero where both are integers."""
    if not y:
        return math.nan
    return math.trunc(x / y) if isinstance(x, int) and isinstance(y, int) else x / y


# Primitives of schedules, on Python numbers.
_SCALAR_OPS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "add": lambda x, y: x + y,
    "and": lambda x, y: x and y,
    "broadcast_in_dim": lambda x: x,
    "ceil": math.ceil,
    "clamp": lambda low, x, high: min(max(x, low), high),
    "copy": lambda x: x,
    "cos": math.cos,
    "div": _divided,
    "eq": lambda x, y: x == y,
    "exp": math.exp,
    "exp2": lambda x: 2.0**x,
    "expm1": math.expm1,
    "floor": math.floor,
    "ge": lambda x, y: x >= y,
    "gt": lambda x, y: x > y,
    "le": lambda x, y: x <= y,
    "log": lambda x: math.log(x) if x > 0 else math.nan,
    "log1p": lambda x: math.log1p(x) if x > -1 else math.nan,
    "logistic": lambda x: 0.5 * (1 + math.tanh(x / 2)),
    "lt": lambda x, y: x < y,
    "max": max,
    "min": min,
    "mul": lambda x, y: x * y,
    "ne": lambda x, y: x != y,
    "neg": lambda x: -x,
    "not": lambda x: not x,
    "or": lambda x, y: x or y,
    "pow": lambda x, y: x**y,
    "rem": lambda x, y: type(x)(math.fmod(x, y)) if y else math.nan,
    "reshape": lambda x: x,
    "rsqrt": lambda x: x**-0.5 if x > 0 else math.nan,
    "select_n": lambda which, *cases: cases[int(which)],
    "sign": lambda x: (x > 0) - (x < 0),
    "sin": math.sin,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "square": lambda x: x * x,
    "squeeze": lambda x: x,
    "stop_gradient": lambda x: x,
    "sub": lambda x, y: x - y,
    "tanh": math.tanh,
}
# Those that leave the values of a parameter as they were drawn.
_LAYOUT_ONLY = {
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "reshape",
    "squeeze",
    "transpose",
}


class NotTraceableError(Exception):
    """A scalar depends on more than the step, or on an operation without a row in the table."""


class TracedProgram:
    """A traced program, asked for one of its outputs at a time; the rest is never looked at."""

    def __init__(self, jaxpr: core.Jaxpr, consts: Sequence[Any], parent: _Caller | None = None):
        self._jaxpr = jaxpr
        self._consts = dict(zip(jaxpr.constvars, consts, strict=True))
        self._equation_of = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
        self._parent = parent

    def scalar(self, output: int, *, inputs: Any) -> float:
        """Return output number `output`, all integer scalars among the inputs being `inputs`.

        Raises:
            NotTraceableError: It depends on other inputs, or on an unknown operation.
        """
        return self._scalar(self._jaxpr.outvars[output], inputs, {})

    def start(self, output: int) -> str:
        """Return how output number `output` is drawn: the name it was given, or its constant."""
        return self._start(self._jaxpr.outvars[output])

    def _start(self, atom: Any) -> str:
        if isinstance(atom, core.Literal):
            return f"{float(atom.val):.4g}"
        eqn = self._equation_of.get(atom)
        if eqn is None:
            caller = self._parent
            if caller is not None and atom in self._jaxpr.invars:
                position = self._jaxpr.invars.index(atom)
                return caller.program._start(caller.equation.invars[position])
            return "other"
        name = eqn.primitive.name
        if name == "name":
            return eqn.params["name"]
        if name in _LAYOUT_ONLY:
            return self._start(eqn.invars[0])
        inner = _called(eqn)
        if inner is not None:
            return self._inside(eqn, inner)._start(inner.outvars[eqn.outvars.index(atom)])
        return "other"

    def _scalar(self, atom: Any, inputs: Any, known: dict[Any, Any]) -> Any:
        if isinstance(atom, core.Literal):
            return atom.val.item() if hasattr(atom.val, "item") else atom.val
        if atom not in known:
            known[atom] = self._compute(atom, inputs, known)
        return known[atom]

    def _compute(self, var: Any, inputs: Any, known: dict[Any, Any]) -> Any:
        eqn = self._equation_of.get(var)
        if eqn is None:
            return self._input(var, inputs)
        name, inner = eqn.primitive.name, _called(eqn)
        if inner is not None:
            return self._inside(eqn, inner)._scalar(
                inner.outvars[eqn.outvars.index(var)],
                lambda i: self._scalar(eqn.invars[i], inputs, known),
                {},
            )
        operands = [self._scalar(atom, inputs, known) for atom in eqn.invars]
        if name == "convert_element_type":
            is_float = eqn.params["new_dtype"].kind not in "iub"
            return operands[0] if is_float else int(operands[0])
        if name == "integer_pow":
            return operands[0] ** eqn.params["y"]
        if name not in _SCALAR_OPS:
            raise NotTraceableError(f"the operation {name}")
        return _SCALAR_OPS[name](*operands)

    def _input(self, var: Any, inputs: Any) -> Any:
        if var in self._consts:
            value = self._consts[var]
            if getattr(value, "shape", ()) == ():
                return value.item() if hasattr(value, "item") else value
            raise NotTraceableError("an array")
        if callable(inputs):
            return inputs(self._jaxpr.invars.index(var))
        if var.aval.shape == () and var.aval.dtype.kind in "iu":
            return inputs
        raise NotTraceableError("more than the step")

    def _inside(self, eqn: Any, inner: core.Jaxpr) -> TracedProgram:
        closed = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr")
        consts = closed.consts if isinstance(closed, core.ClosedJaxpr) else ()
        return TracedProgram(inner, consts, _Caller(self, eqn))


class _Caller:
    """The equation of a program that calls another."""

    def __init__(self, program: TracedProgram, equation: Any):
        self.program = program
        self.equation = equation


def _called(eqn: Any) -> core.Jaxpr | None:
    """The program that an equation calls once, with its own operands; None if it calls none."""
    if eqn.primitive.name not in ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call"):
        return None
    closed = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr")
    return closed.jaxpr if isinstance(closed, core.ClosedJaxpr) else closed
