"""params.txt of a run: lines of `path: float32[8, 4], axes (embed, mlp), sharding (fsdp, None)`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from axl_exp.run.files import RunFileError, write_text

_LINE = re.compile(
    r"(?P<path>[^:]+): (?P<shape>\w+\[[^\]]*\]), axes (?P<logical>\(.*?\)), "
    r"sharding (?P<physical>\(.*\))"
)

Params = dict[str, dict[str, str]]
"""path -> shape, logical (axes of the model) and physical (axes of the mesh), as text."""


def write_params(path: Path, params: Mapping[str, Mapping[str, str]]) -> None:
    """Write one line per parameter, by path.

    Raises:
        RunFileError: The system does not take the file.
    """
    lines = (
        f"{name}: {of['shape']}, axes {of['logical']}, sharding {of['physical']}\n"
        for name, of in sorted(params.items())
    )
    write_text(path, "".join(lines))


def read_params(path: Path) -> Params:
    """Return what `write_params` wrote; {} where there is no such file.

    Raises:
        RunFileError: The file cannot be read, or a line of it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RunFileError(f"cannot read {path}: {error}") from error
    return dict(_read_lines(text, path))


def _read_lines(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise RunFileError(f"{path}:{number} is no parameter: expected path: type[shape], ...")
        facts = match.groupdict()
        yield facts.pop("path"), facts
