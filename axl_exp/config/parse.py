"""The parser of flat text. It accepts what the writer prints and nothing else.

So text -> parse -> text is the identity, two texts are equal exactly if what they say is, and a
hand-made change that the writer would print differently is found where it was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from axl_exp.config.flat_path import canonical_order, read_steps, split_path, step_key
from axl_exp.config.literal import KEYED_HEADS, Head, Value, format_value
from axl_exp.config.parse_value import ParseError, Reader


class FlatConfig(Mapping[str, Value]):
    """A parsed flat text: path -> value, in the order of its lines.

    Attributes:
        texts: path -> the text of the value: what `flatten` returns, and what `diff` compares.
        lines: path -> the number of its line, from 1.
    """

    def __init__(self, values: dict[str, Value], texts: dict[str, str], lines: dict[str, int]):
        self._values = values
        self.texts = texts
        self.lines = lines

    def __getitem__(self, path: str) -> Value:
        return self._values[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FlatConfig):
            return NotImplemented
        return list(self.texts.items()) == list(other.texts.items())

    __hash__ = None  # pyright: ignore  (compares by value, as dict)


def parse_text(text: str, *, source: str = "flat text") -> FlatConfig:
    """Parse what `config_text` wrote; blank lines and lines that start with `#` are skipped.

    Args:
        text: The text, with "\\n" line ends.
        source: What the errors call it: a file name.

    Raises:
        ParseError: A line is malformed, given twice, out of order, not in the writer's form, or
            does not fit the lines around it. The message starts with `source:line:`.
    """
    values: dict[str, Value] = {}
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in numbered_lines(text, source=source):
        with at_line(source, number):
            path, value, value_text = _parse_line(line)
            if path in lines:
                raise ParseError(f"{path} is already on line {lines[path]}; remove one of the two")
        values[path], texts[path], lines[path] = value, value_text, number
    _check_tree(values, lines, source)
    _check_order(texts, lines, source)
    return FlatConfig(values, texts, lines)


def numbered_lines(text: str, *, source: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of every line that is no comment.

    Raises:
        ParseError: The line ends are not "\\n", or the last line has none.
    """
    if "\r" in text:
        raise ParseError(
            f"{source}: has \\r in its line ends; flat text ends lines with \\n alone "
            "(git config core.autocrlf false, and check the file out again)"
        )
    if text and not text.endswith("\n"):
        raise ParseError(f"{source}: the last line has no line end: the text may be cut short")
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.startswith("#"):
            yield number, line


@contextlib.contextmanager
def at_line(source: str, number: int) -> Iterator[None]:
    """Put `source:number:` in front of the message of a ParseError raised inside."""
    try:
        yield
    except ParseError as error:
        raise ParseError(f"{source}:{number}: {error}") from None


def _parse_line(line: str) -> tuple[str, Value, str]:
    """The path, the value and the value's text of a line."""
    reader = Reader(line)
    steps = read_steps(reader)
    reader.expect(": ")
    text = line[reader.position :]
    value = reader.leaf()
    reader.end()
    for written, meant in [(text, value), *((s[1:-1], step_key(s)) for s in steps if s[0] == "[")]:
        if format_value(meant) != written:
            raise ParseError(
                f"{written} is not in the form that the writer prints; write {format_value(meant)}"
            )
    return "".join(steps), value, text


def _check_tree(values: Mapping[str, Value], lines: Mapping[str, int], source: str) -> None:
    children: dict[str, dict[str, str]] = {path: {} for path in values}
    for path in values:
        node = ""
        for step in split_path(path):
            children.setdefault(node, {}).setdefault(step, path)
            node += step
    for node, below in children.items():
        # Without a line of its own a node is a config or a mapping; `below` is never empty then.
        problem = _problem(values.get(node, Head("")), list(below))
        if problem is not None:
            path = node if node in lines else next(iter(below.values()))
            raise ParseError(f"{source}:{lines[path]}: {node} {problem}")


def _problem(value: Value, steps: list[str]) -> str | None:
    """What is wrong with a node whose own line says `value` and which has `steps` below it."""
    if not isinstance(value, Head):
        return "has a value and also lines below it; remove one or the other" if steps else None
    kind, _, count = value.text.partition(" of ")
    num_fields = sum(not step.startswith("[") for step in steps)
    if value.text in KEYED_HEADS:
        good = steps and all(step.startswith('["') for step in steps)
        return None if good else f"is a {value}, so only lines with names belong below it"
    if kind in ("list", "tuple"):
        good = steps == [f"[{i}]" for i in range(int(count))]
        return None if good else f"is a {value}, so items [0] to [{int(count) - 1}] belong below it"
    if value.text.startswith("config "):
        good = num_fields == len(steps)
        return None if good else "is a config, so only lines with fields belong below it"
    return None if num_fields in (0, len(steps)) else "has both fields and keys below it"


def _check_order(texts: Mapping[str, str], lines: Mapping[str, int], source: str) -> None:
    for path, right in zip(texts, canonical_order(texts), strict=True):
        if path != right:
            raise ParseError(
                f"{source}:{lines[path]}: {right} belongs here, before {path}; "
                f"move it up from line {lines[right]}"
            )
