"""The reader of AXLearn's golden text: `path: repr`, items as `[0]`, keys as `['name']`.

It becomes flat text as far as the two say the same: what stands in a field `fn` or `klass` is a
symbol, a dtype is a dtype, and everything else the Python literal that it is.
"""

from __future__ import annotations

import ast
import re

from axl_exp.config import ConfigError
from axl_exp.config.flat_path import canonical_order
from axl_exp.config.literal import format_value

_STEP = re.compile(
    r"\.?(?P<field>[A-Za-z_]\w*)|\[(?P<key>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+)\]"
)
_DTYPES = re.compile(r"jax\.numpy\.((?:bfloat|float|int|uint)\d+\w*|bool_?)")
_SYMBOL = re.compile(r"(?P<module>[\w.]+?)\.(?P<name>(?:[A-Z]\w*\.)*\w+)")


class AxlearnTextError(ConfigError, ValueError):
    """A line that is not of AXLearn's golden text."""


def is_axlearn_text(text: str) -> bool:
    """Return whether `text` has quotes as AXLearn writes them and flat text never does."""
    return re.search(r"^[^:\n\"]*(\['|: ')", text, re.MULTILINE) is not None


def read_axlearn_text(text: str, *, source: str) -> dict[str, str]:
    """Return path -> text of the value, both as flat text writes them, in its order.

    Raises:
        AxlearnTextError: A line is not of that syntax, or a path stands twice; the message starts
            with `source:line:`.
    """
    texts: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        path, end = _path(line)
        if not path or line[end : end + 2] != ": ":
            raise AxlearnTextError(f"{source}:{number}: expected `path: value`: {line[:60]}")
        if path in texts:
            raise AxlearnTextError(f"{source}:{number}: {path} stands twice")
        texts[path] = _value(path, line[end + 2 :])
    return {path: texts[path] for path in canonical_order(texts)}


def _path(line: str) -> tuple[str, int]:
    """The path at the start of a line in flat text's form, and where it ends."""
    path, position = "", 0
    while match := _STEP.match(line, position):
        if match["field"] is not None:
            path += f".{match['field']}" if path else match["field"]
        else:
            path += f"[{format_value(ast.literal_eval(match['key']))}]"
        position = match.end()
    return path, position


def _value(path: str, text: str) -> str:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return format_value(text)  # An object as Python shows it.
    if isinstance(value, str):
        if dtype := _DTYPES.fullmatch(value):
            return f'dtype("{dtype[1]}")'
        symbol = _SYMBOL.fullmatch(value)
        if symbol and path.rpartition(".")[2] in ("fn", "klass"):
            return f"@{symbol['module']}:{symbol['name']}"
    return format_value(value)
