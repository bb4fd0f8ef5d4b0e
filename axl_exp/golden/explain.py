"""Why a config holds what it holds: its value, its default and every writer in order."""

from __future__ import annotations

import dataclasses

from axl_exp.cli import did_you_mean
from axl_exp.config import ConfigBase, history
from axl_exp.config.describe import UnprintableValueError
from axl_exp.config.errors import UnknownFieldError
from axl_exp.config.literal import format_value
from axl_exp.config.provenance import DEFAULT
from axl_exp.config.text import flatten
from axl_exp.errors import UserError
from axl_exp.resolve import Resolved


class UnknownPathError(UserError):
    """A path at which a config has nothing."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The history of what is at a path.

    Attributes:
        path: As flat text has it.
        value: Its text; of a config, the lines below it.
        writes: (who, where, value then) of every write, the default first; `where` may be empty.
    """

    path: str
    value: str
    writes: tuple[tuple[str, str, str], ...]

    @property
    def is_default(self) -> bool:
        """Whether nobody set it."""
        return all(by == DEFAULT for by, _, _ in self.writes)


def explain(resolved: Resolved, path: str) -> Explanation:
    """Return who wrote what is at `path` of a resolved config.

    Raises:
        UnknownPathError: Nothing is there; the message names the nearest paths.
    """
    texts = flatten(resolved.config)
    try:
        writes = history(resolved.config, path)
    except UnknownFieldError as error:
        hint = "" if "?" in str(error) else did_you_mean(path, texts)
        raise UnknownPathError(f"{resolved.name}: {error}{hint}") from error
    below = [f"{p}: {text}" for p, text in texts.items() if p.startswith((f"{path}.", f"{path}["))]
    value = texts[path] if path in texts else "\n".join(below) or _text(writes[-1].value)
    return Explanation(
        path=path,
        value=value,
        writes=tuple((write.by, write.where, _text(write.value)) for write in writes),
    )


def explanation_text(explanation: Explanation) -> str:
    """Return the explanation as lines: the value, then one line per writer, oldest first."""
    head = explanation.path
    if "\n" in explanation.value:
        lines = [f"{head}:", *(f"  {line}" for line in explanation.value.split("\n"))]
    else:
        lines = [f"{head}: {explanation.value}"]
    rows = [(by, value, where) for by, where, value in explanation.writes]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for by, value, where in rows:
        lines.append(f"  {by:{widths[0]}}  {value:{min(widths[1], 48)}}  {where}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def _text(value: object) -> str:
    """The text of a value on one line; of a config, what it is a config of."""
    if isinstance(value, ConfigBase):
        value = next((getattr(value, k) for k in ("fn", "klass") if k in value), type(value))
    try:
        return format_value(value)
    except UnprintableValueError:
        return str(value)
