"""Paths of flat text, taken apart into steps, and the one order of a text's lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from axl_exp.config.literal import KEYED_HEADS, sort_key
from axl_exp.config.parse_value import Reader

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_steps(reader: Reader) -> tuple[str, ...]:
    """Read the path at the reader's place; its steps are pieces of text: `a`, `.b`, `["c"]`, `[0]`.

    Raises:
        ParseError: There is no path there.
    """
    steps = [reader.match(_FIELD) or reader.fail("a path, which starts with a field name")]
    while reader.peek() in (".", "["):
        start = reader.position
        if reader.accept("."):
            if reader.match(_FIELD) is None:
                reader.fail("a field name")
        else:
            reader.expect("[")
            reader.value()
            reader.expect("]")
        steps.append(reader.text[start : reader.position])
    return tuple(steps)


@functools.lru_cache(maxsize=100_000)
def split_path(path: str) -> tuple[str, ...]:
    """Return the steps of `path`; `"".join` of them is the path again.

    Raises:
        ParseError: `path` is not a path of flat text.
    """
    reader = Reader(path)
    steps = read_steps(reader)
    reader.end()
    return steps


@functools.lru_cache(maxsize=100_000)
def step_key(step: str) -> object:
    """Return the key or index in a step such as `["c"]` or `[0]`; a field step is no key."""
    reader = Reader(step)
    reader.expect("[")
    return reader.value()


def canonical_order(
    texts: Mapping[str, str], *, orders: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the paths of a flat text in the order in which the writer would print them.

    At every level fields come sorted by name and keys by `sort_key`. Items of a keyed sequence keep
    the order in which they first appear, unless `orders` lists the item steps of that sequence.
    """
    ranks: dict[str, int] = {}
    for head, steps in (orders or {}).items():
        ranks.update({head + step: i for i, step in enumerate(steps)})

    def rank(path: str) -> list[tuple[int, float, str]]:
        result, node = [], ""
        for step in split_path(path):
            if texts.get(node) in KEYED_HEADS:
                result.append((0, ranks.setdefault(node + step, len(ranks)), ""))
            elif step.startswith("["):
                result.append(sort_key(step_key(step)))
            else:
                result.append((0, 0, step))
            node += step
        return result

    return sorted(texts, key=rank)
