"""The shell of a page: one HTML file that needs nothing else, from disk, with scripts off.

Style and script are part of the file. A content security policy lets only that script run and
nothing be fetched, so that even a mistake in a template cannot make data into code.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from axl_exp.report.text import printable

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Link:
    """A place in the navigation of a page: an address relative to it, and its name."""

    href: str
    name: str


@dataclass(frozen=True)
class Navigation:
    """Where a page stands among others; None where there is no such page."""

    previous: Link | None = None
    next: Link | None = None
    index: Link | None = None


def render_page(
    template: str,
    *,
    templates: Path,
    title: str,
    navigation: Navigation | None = None,
    **values: Any,
) -> str:
    """Return the HTML of `template`, which extends `page.html.j2` of this room.

    Every value is escaped, and its control characters are spelled out.

    Args:
        template: File name within `templates`.
        templates: Folder of the caller's templates.
        title: Of the window, and the page's name for others.
        navigation: Links to the pages beside this one.
        values: What the template shows.
    """
    script = (_ASSETS / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment(templates)
        .get_template(template)
        .render(
            page_title=title,
            navigation=navigation or Navigation(),
            page_style=Markup((_ASSETS / "page.css").read_text(encoding="utf-8")),  # noqa: S704
            page_script=Markup(script),  # noqa: S704
            script_hash=Markup(f"sha256-{digest}"),  # noqa: S704
            **values,
        )
    )


@cache
def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([templates, _ASSETS]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_spelled_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json_data"] = json_data
    return environment


def _spelled_out(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def json_data(value: Mapping[str, Any]) -> Markup:
    """Return `value` as JSON that may stand in a `<script type="application/json">`.

    No character that could end the element or begin a comment is left as it is.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704
