"""AXLearn's views of a config: visit, nested dict, flat dict, debug string.

Kept for people and code that come from AXLearn. What this project stores and reviews is the
canonical text of `axl_exp.config.text`.
"""

import dataclasses
import types
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import attr

from axl_exp.config.fields import fields_of
from axl_exp.config.required import REQUIRED
from axl_exp.config.values import PLAIN_TYPES, is_config

if TYPE_CHECKING:
    from axl_exp.config.core import ConfigBase

Items = list[tuple[str, Any]]
EnterFn = Callable[[str, Any, Items | None], Items | None]


def children(key: str, value: Any) -> Items | None:
    """Return (path, value) of what `value` at the path `key` holds, None if it is a leaf.

    Paths are `key.field` in configs, `key[i]` in sequences, `key['k']` in dicts, dataclasses,
    attrs classes and named tuples.
    """
    if type(value) in PLAIN_TYPES:
        return None
    if is_config(value):
        return [(f"{key}.{k}" if key else k, v) for k, v in value.items()]
    if isinstance(value, dict):
        return [(f"{key}[{k!r}]", v) for k, v in value.items()]
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value)]
        return [(f"{key}[{k!r}]", getattr(value, k)) for k in fields]
    if hasattr(value, "__attrs_attrs__"):
        return children(key, attr.asdict(value, recurse=False))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return children(key, value._asdict())  # pyright: ignore
    if isinstance(value, (list, tuple, range)):
        return [(f"{key}[{i}]", v) for i, v in enumerate(value)]
    return None


def visit(
    cfg: Any,
    *,
    visit_fn: Callable[[str, Any], None],
    enter_fn: EnterFn | None = None,
    exit_fn: Callable[[str, Any], None] | None = None,
) -> None:
    """Call `visit_fn(path, value)` on every leaf below `cfg`, in order.

    Args:
        cfg: The config; its own path is "".
        visit_fn: Called where there is nothing to enter.
        enter_fn: Called with (path, value, children or None) on everything; returns what to enter,
            or None to visit the value itself. Default: the children as they are.
        exit_fn: Called after everything below an entered value was visited.
    """

    def walk(key: str, value: Any) -> None:
        items = children(key, value)
        if enter_fn is not None:
            items = enter_fn(key, value, items)
        if items is None:
            visit_fn(key, value)
            return
        for subkey, subvalue in items:
            walk(subkey, subvalue)
        if exit_fn is not None:
            exit_fn(key, value)

    walk("", cfg)


def configs_in(cfg: Any) -> Iterator["ConfigBase"]:
    """Yield `cfg` and every config below it, parents first."""
    if is_config(cfg):
        yield cfg
    for _, value in children("", cfg) or ():
        yield from configs_in(value)


def to_dict(cfg: Any) -> dict[str, Any]:
    """Return nested dicts of the fields; functions and classes become their dotted names."""

    def convert(value: Any) -> Any:
        if isinstance(value, (type, types.FunctionType)):
            return f"{value.__module__}.{value.__name__}"
        if isinstance(value, defaultdict):
            return {k: convert(v) for k, v in value.items()}
        if isinstance(value, dict):
            return type(value)({k: convert(v) for k, v in value.items()})
        if is_config(value):
            return {k: convert(v) for k, v in value.items()}
        if isinstance(value, range):
            return list(value)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
            return type(value)([convert(v) for v in value])
        inner = children("", value)
        if inner is None:
            return value
        return {k[2:-2]: convert(v) for k, v in inner}

    return convert(cfg)


def to_flat_dict(cfg: Any, *, omit_default_values: Collection[Any]) -> dict[str, Any]:
    """Return path -> value of every leaf.

    A field is left out where its value is its default and that default is one of
    `omit_default_values`.
    """
    flat: dict[str, Any] = {}

    def enter(key: str, value: Any, items: Items | None) -> Items | None:
        if items is None:
            return None
        defaults = _defaults(value)
        names = defaults.keys()
        kept = []
        for (subkey, subvalue), name in zip(items, _names(value, items), strict=True):
            default = defaults[name] if name in names else attr.NOTHING
            if subvalue is default and _one_of(default, omit_default_values):
                continue
            kept.append((subkey, subvalue))
        return kept

    visit(cfg, visit_fn=flat.__setitem__, enter_fn=enter)
    return flat


def _defaults(value: Any) -> dict[str, Any]:
    if is_config(value):
        return {**dict.fromkeys(value.keys(), REQUIRED), **fields_of(type(value)).defaults}
    if dataclasses.is_dataclass(value):
        return {f.name: f.default for f in dataclasses.fields(value)}
    return {}


def _names(value: Any, items: Items) -> list[str]:
    if is_config(value):
        return value.keys()
    if dataclasses.is_dataclass(value):
        return [f.name for f in dataclasses.fields(value)]
    return [""] * len(items)


def _one_of(default: Any, omitted: Collection[Any]) -> bool:
    return any(default is o or (default is not None and default == o) for o in omitted)


def debug_string(
    cfg: Any,
    *,
    kv_separator: str = ": ",
    field_separator: str = "\n",
    omit_default_values: Collection[Any] = (None, REQUIRED),
) -> str:
    """Return AXLearn's text of a config: `path: repr(value)`, one leaf per line."""

    def text(value: Any) -> str:
        if isinstance(value, (type, types.FunctionType)):
            value = f"{value.__module__}.{value.__name__}"
        return repr(value)

    flat = to_flat_dict(cfg, omit_default_values=omit_default_values)
    return field_separator.join(f"{k}{kv_separator}{text(v)}" for k, v in flat.items())
