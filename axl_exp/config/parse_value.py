"""The parser of one value of flat text: recursive descent over the grammar of docs/flat_text.md."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from axl_exp.config.describe import WORDS, Call, Symbol
from axl_exp.config.errors import ConfigError
from axl_exp.config.literal import Head, Value
from axl_exp.config.required import REQUIRED


class ParseError(ConfigError, ValueError):
    """A text is not flat text; the message says where and what was expected there."""


_NAMES: dict[str, Value] = {
    "None": None,
    "True": True,
    "False": False,
    "REQUIRED": REQUIRED,
    "inf": float("inf"),
    "nan": float("nan"),
}
_SPACE = re.compile(" *")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf\b)")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_BYTES = re.compile(r'b"((?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*)"')
_SYMBOL = re.compile(r"@([A-Za-z0-9_.\-]+:[A-Za-z0-9_.<>|]+)")
_KEYWORD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_HEAD = re.compile(
    r"(?:list|tuple) (?:by name|of pairs|of [1-9]\d*)|config @[A-Za-z0-9_.\-]+:[A-Za-z0-9_.<>|]+"
)


def parse_value(text: str) -> Value:
    """Return the value that `text` stands for.

    Accepts more than the writer prints: `1e-4`, `+1`, unsorted sets, spaces between tokens.

    Raises:
        ParseError: `text` is not one value.
    """
    reader = Reader(text)
    value = reader.value()
    reader.end()
    return value


class Reader:
    """A place in a text, and what can be read from there."""

    def __init__(self, text: str, position: int = 0):
        self.text = text
        self.position = position

    def fail(self, expected: str) -> NoReturn:
        """Raise the ParseError that says what was expected at this place."""
        found = self.text[self.position : self.position + 20]
        raise ParseError(
            f"expected {expected} at column {self.position + 1}, "
            f"found {json.dumps(found) if found else 'the end of the line'}"
        )

    def peek(self) -> str:
        """Return the next character, "" at the end."""
        return self.text[self.position : self.position + 1]

    def accept(self, token: str) -> bool:
        """Step over `token` if it comes next."""
        if self.text.startswith(token, self.position):
            self.position += len(token)
            return True
        return False

    def expect(self, token: str) -> None:
        """Step over `token`, which must come next."""
        if not self.accept(token):
            self.fail(f"`{token}`")

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Step over what `pattern` matches here and return it, None if it does not match."""
        match = pattern.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match.group()

    def end(self) -> None:
        """Check that nothing is left."""
        if self.position < len(self.text):
            self.fail("nothing more")

    def leaf(self) -> Value:
        """Read what stands right of a path: a head or a value."""
        head = self.match(_HEAD)
        return self.value() if head is None else Head(head)

    def value(self) -> Value:
        """Read one value."""
        try:
            return self._value()
        except RecursionError:
            raise ParseError("a value is nested too deeply") from None

    def _value(self) -> Value:
        start = self.peek()
        if start == '"':
            return self._string()
        if start == "[":
            return list(self._sequence("[", "]"))
        if start == "(":
            return self._tuple()
        if start == "{":
            return self._set_or_dict()
        if start == "@":
            symbol = self.match(_SYMBOL) or self.fail("a name `@module:qualname`")
            return self._call(symbol) if self.peek() == "(" else Symbol(symbol[1:])
        if self.text.startswith('b"', self.position):
            return self._bytes()
        number = self.match(_NUMBER)
        if number is not None:
            return self._number(number)
        return self._word()

    def _number(self, text: str) -> int | float:
        try:
            return int(text)
        except ValueError:
            if text.lstrip("+-").isdigit():
                raise ParseError(f"the integer {text[:20]}... is too long") from None
            return float(text)

    def _word(self) -> Value:
        start = self.position
        word = self.match(_WORD)
        if word in _NAMES:
            return _NAMES[word]
        if word is not None and self.peek() == "(":
            if word in ("set", "frozenset"):
                return self._constructed_set(word)
            if word in WORDS:
                return self._call(word)
        self.position = start
        return self.fail("a value")

    def _string(self) -> str:
        text = self.match(_STRING) or self.fail("a string that ends with a quote")
        try:
            return json.loads(text)
        except ValueError as error:
            raise ParseError(f"{text[:40]} is not a JSON string: {error}") from None

    def _bytes(self) -> bytes:
        text = self.match(_BYTES) or self.fail('bytes, `b"..."` of printable ASCII and \\xNN')
        plain = re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), text[2:-1])
        return plain.encode("latin-1")

    def _sequence(self, start: str, end: str) -> tuple[Value, ...]:
        """Items between `start` and `end`, separated by commas; one may follow the last."""
        self.expect(start)
        items = []
        while True:
            self.match(_SPACE)
            if self.accept(end):
                return tuple(items)
            items.append(self._value())
            self._separate(end)

    def _separate(self, end: str) -> None:
        self.match(_SPACE)
        if not self.accept(",") and self.peek() != end:
            self.fail(f"`,` or `{end}`")

    def _tuple(self) -> tuple[Value, ...]:
        items = self._sequence("(", ")")
        if len(items) == 1 and not self.text[: self.position - 1].rstrip(" ").endswith(","):
            raise ParseError("a tuple of one item is written with a comma: (1,)")
        return items

    def _set_or_dict(self) -> set | dict:
        self.expect("{")
        items, pairs = [], {}
        while True:
            self.match(_SPACE)
            if self.accept("}"):
                break
            items.append(self._hashable(self._value()))
            self.match(_SPACE)
            if self.accept(":"):
                self.match(_SPACE)
                if items[-1] in pairs:
                    self.fail("a key that is new")
                pairs[items[-1]] = self._value()
            self._separate("}")
        if pairs and len(pairs) < len(items):
            raise ParseError("a dict has `key: value` everywhere, a set nowhere")
        return set(items) if items and not pairs else pairs

    def _constructed_set(self, word: str) -> set | frozenset:
        """`set()`, `frozenset()` or `frozenset({...})`."""
        items = self._sequence("(", ")")
        if word == "set" and not items:
            return set()
        if word == "frozenset" and (not items or isinstance(items[0], set) and len(items) == 1):
            return frozenset(*items)
        raise ParseError("write set(), {1, 2}, frozenset() or frozenset({1, 2})")

    def _call(self, name: str) -> Call:
        self.expect("(")
        args: list[Any] = []
        keywords: list[tuple[str, Any]] = []
        while True:
            self.match(_SPACE)
            if self.accept(")"):
                return Call(name, tuple(args), tuple(keywords))
            keyword = self.match(_KEYWORD)
            if keyword is not None:
                keywords.append((keyword[:-1], self._value()))
            elif keywords:
                self.fail("`name=value`")
            else:
                args.append(self._value())
            self._separate(")")

    def _hashable(self, value: Value) -> Value:
        try:
            hash(value)
        except TypeError:
            raise ParseError(
                f"a {type(value).__name__} cannot be in a set or be a key of a dict"
            ) from None
        return value
