"""Why a config holds what it holds: the history of a leaf, and the writer of every leaf."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from axl_exp.config import path as paths
from axl_exp.config.core import ConfigBase, field_default
from axl_exp.config.errors import UnknownFieldError
from axl_exp.config.fields import class_text
from axl_exp.config.provenance import DEFAULT, Write
from axl_exp.config.text import flatten

_ABSENT = object()


def history(cfg: ConfigBase, path: str | Sequence[paths.Key]) -> list[Write]:
    """Return every write that decided what is at `path`, oldest first, the default before them.

    They are the writes to its field, and those to a field above it that brought it in: their
    `path` says which. The `value` of each is what was at `path` after it. Writes to a config that
    was replaced since are told too, as far as it had something at `path`.

    Raises:
        UnknownFieldError: Nothing is at `path`.
    """
    keys = paths.parse_path(path) if isinstance(path, str) else tuple(path)
    cfg.get_recursively(keys)
    found: dict[tuple[float, str], Write] = {}
    _collect(cfg, keys, 0, found)
    told = [_default(cfg, keys), *(found[key] for key in sorted(found))]
    return [write for write in told if write.value is not _ABSENT]


def leaf_writers(cfg: ConfigBase) -> dict[str, Write]:
    """Return, for every line of the flat text of `cfg`, the last write to its field.

    A leaf whose field was never set has the writer "default", even where a config above it was set.
    """
    writers = {}
    for path in flatten(cfg):
        keys = paths.parse_path(path)
        holder, depth = _holder(cfg, keys)
        writes = holder.writes(str(keys[depth]))
        writers[path] = writes[-1] if writes else _default(cfg, keys)
    return writers


def _collect(
    value: Any, keys: Sequence[paths.Key], depth: int, found: dict[tuple[float, str], Write]
) -> None:
    """Add to `found` every write, at or above `keys`, to what `value` at `keys[:depth]` was."""
    for i in range(depth, len(keys)):
        if isinstance(value, ConfigBase) and keys[i] in value:
            path = paths.path_text(keys[: i + 1])
            for write in value.writes(str(keys[i])):
                held = _held(value, keys[i:], write.order)
                found[write.order, path] = dataclasses.replace(write, path=path, value=held)
                _collect(write.before, keys, i + 1, found)
        value = _step(value, keys[i])


def _held(value: Any, keys: Sequence[paths.Key], order: float) -> Any:
    """What was at `keys` below `value` when its write number `order` had just been made."""
    for key in keys:
        later: list[Write] = []
        if isinstance(value, ConfigBase) and key in value:
            later = [w for w in value.writes(str(key)) if w.order > order]
        value = later[0].before if later else _step(value, key)
    return value


def _step(value: Any, key: paths.Key) -> Any:
    try:
        return paths.step(value, key)
    except UnknownFieldError:
        return _ABSENT


def _default(cfg: ConfigBase, keys: Sequence[paths.Key]) -> Write:
    holder, depth = _holder(cfg, keys)
    value = field_default(type(holder), str(keys[depth]))
    for key in keys[depth + 1 :]:
        value = _step(value, key)
    path = paths.path_text(keys[: depth + 1])
    return Write(DEFAULT, class_text(type(holder)), value, path=path)


def _holder(cfg: ConfigBase, keys: Sequence[paths.Key]) -> tuple[ConfigBase, int]:
    """The config whose field `keys[depth]` is, or contains, what is at `keys`; and `depth`."""
    holder, depth, value = cfg, 0, cfg
    for i, key in enumerate(keys):
        if isinstance(value, ConfigBase):
            holder, depth = value, i
        value = paths.step(value, key)
    return holder, depth
