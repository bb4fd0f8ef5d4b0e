"""Why a config holds what it holds: the history of a leaf, and the writer of every leaf."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from axl_exp.config import path as paths
from axl_exp.config.core import ConfigBase, field_default
from axl_exp.config.errors import UnknownFieldError
from axl_exp.config.fields import class_text
from axl_exp.config.provenance import CHANGED_IN_PLACE, DEFAULT, Write
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
    search = _Search(keys, own_depth=_holder(cfg, keys)[1])
    search.collect(cfg, 0)
    told = [_default(cfg, keys)]
    for (_, depth), write in sorted(search.found.items(), key=lambda item: item[0]):
        told.append(dataclasses.replace(write, path=_path(cfg, keys[: depth + 1])))
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


@dataclasses.dataclass
class _Search:
    """The search for every write that decided what is at `keys`."""

    keys: Sequence[paths.Key]
    # The field in which `keys` ends is keys[own_depth].
    own_depth: int
    # By the order of the write and the depth of its field.
    found: dict[tuple[float, int], Write] = dataclasses.field(default_factory=dict)

    def collect(self, value: Any, depth: int) -> None:
        """Find the writes below `value`, which is, or was before a write, at keys[:depth]."""
        for i in range(depth, len(self.keys)):
            for write in _writes(value, self.keys[i]):
                held = self.held(value, i, write.order)
                self.found[write.order, i] = dataclasses.replace(write, value=held)
                self.collect(write.before, i + 1)
            value = _step(value, self.keys[i])

    def held(self, value: Any, depth: int, order: float) -> Any:
        """What was at `keys` below `value` when the write number `order` had just been made."""
        for i in range(depth, len(self.keys)):
            later = [w for w in _writes(value, self.keys[i]) if w.order > order]
            if i < self.own_depth:
                # What such a change found in place of a config is not known, only its class.
                later = [w for w in later if w.by != CHANGED_IN_PLACE]
            value = later[0].before if later else _step(value, self.keys[i])
        return value


def _writes(value: Any, key: paths.Key) -> tuple[Write, ...]:
    return value.writes(str(key)) if isinstance(value, ConfigBase) and key in value else ()


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
    path = _path(cfg, keys[: depth + 1])
    return Write(DEFAULT, class_text(type(holder)), value, path=path)


def _path(cfg: ConfigBase, keys: Sequence[paths.Key]) -> str:
    """The path as the flat text has it: fields after a dot, keys and indices in brackets."""
    text, value = "", cfg
    for key in keys:
        is_field = isinstance(value, ConfigBase)
        text += f".{key}" if is_field else f"[{json.dumps(key)}]"
        value = paths.step(value, key)
    return text.removeprefix(".")


def _holder(cfg: ConfigBase, keys: Sequence[paths.Key]) -> tuple[ConfigBase, int]:
    """The config whose field `keys[depth]` is, or contains, what is at `keys`; and `depth`."""
    holder, depth, value = cfg, 0, cfg
    for i, key in enumerate(keys):
        if isinstance(value, ConfigBase):
            holder, depth = value, i
        value = paths.step(value, key)
    return holder, depth
