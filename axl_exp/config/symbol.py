"""The name of a function, a class or an enum member in text: `module:qualname`.

A name must lead back to the object, say all there is to say about it, and be the same in every
process. So an object without such a name has none here, rather than an address.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from typing import Any


def symbol_name(value: Any) -> str | None:
    """Return `module:qualname` of a function, class, enum member or class method, else None.

    An object that its name does not lead back to (a bound method, a jitted copy of a function) has
    no name, nor has a function that captured variables: its name would hide their values. Lambdas
    and local functions and classes without captured variables are named by where they stand,
    `module:outer.<locals>.<lambda>`.

    What a library defines in a private module is named by the shortest public module of the same
    package that offers it (`jax.nn:silu`, not `jax._src.nn.functions:silu`), so that a name
    outlives the library's moves.
    """
    if isinstance(value, enum.Enum):
        owner = symbol_name(type(value))
        return f"{owner}.{value.name}" if owner and value.name else None
    if isinstance(value, types.MethodType):
        # A class method that is bound to its class is as stable as the class.
        owner = symbol_name(value.__self__) if isinstance(value.__self__, type) else None
        return f"{owner}.{value.__name__}" if owner else None
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if module is None:  # methods of built-in classes, such as str.lower
        module = getattr(getattr(value, "__objclass__", None), "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module, str):
        return None
    private = any(part.startswith("_") for part in module.split("."))
    public = _public_name(value, module, qualname) if private else None
    if public is not None:
        return public
    nameable = isinstance(value, (type, types.FunctionType)) and not captured_variables(value)
    if nameable or _lookup(sys.modules.get(module), qualname) is value:
        return f"{module}:{qualname}"
    return None


def captured_variables(value: Any) -> tuple[str, ...]:
    """Return the names of the outer variables that the local function `value` captured."""
    if not isinstance(value, types.FunctionType) or value.__closure__ is None:
        return ()
    reachable = _lookup(sys.modules.get(value.__module__), value.__qualname__) is value
    return () if reachable else value.__code__.co_freevars


def _public_name(value: Any, module: str, qualname: str) -> str | None:
    for prefix, owner in _public_owners(module.partition(".")[0], len(sys.modules)):
        if _lookup(owner, qualname) is value:
            return prefix + qualname
    return None


@functools.lru_cache(maxsize=64)
def _public_owners(package: str, num_modules: int) -> list[tuple[str, Any]]:
    """(start of a name, module) of each public module of a package, the shortest names first.

    Args:
        package: The package's name.
        num_modules: How many modules are loaded: what is cached is for these.
    """
    names = [
        name
        for name, loaded in list(sys.modules.items())
        if isinstance(loaded, types.ModuleType)
        and (name == package or name.startswith(package + "."))
        and not any(part.startswith("_") for part in name.split("."))
    ]
    owners = []
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        module = sys.modules[name]
        owners.append((f"{name}:", module))
        # jax.checkpoint_policies looks like a module and is none.
        owners += [
            (f"{name}:{attribute}.", namespace)
            for attribute, namespace in list(vars(module).items())
            if isinstance(namespace, types.SimpleNamespace)
        ]
    return owners


def _lookup(owner: Any, qualname: str) -> Any:
    # vars() first: some libraries import, or warn, when a module is asked for a name it lacks.
    for name in qualname.split("."):
        if isinstance(owner, (types.ModuleType, types.SimpleNamespace)):
            owner = vars(owner).get(name)
        else:
            owner = getattr(owner, name, None)
    return owner
