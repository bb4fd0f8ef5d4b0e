"""What a command found, printed and written as its flags ask for it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from axl_exp.dryrun.section import Section, as_html, as_markdown, print_sections
from axl_exp.report.terminal import make_console
from axl_exp.run.files import write_text


def tell(flags: argparse.Namespace, told: Any, sections: Sequence[Section], *, title: str) -> None:
    """Print `sections`, in Markdown with `flags.md`, or `told` with `flags.json`.

    They also become a page at `flags.html` where that is a path.

    Raises:
        UserError: The page cannot be written. What was found is printed all the same.
    """
    try:
        if flags.html is not None:
            write_text(flags.html, as_html(sections, title=title))
    finally:
        if flags.json:
            print(json.dumps(told, indent=2))
        elif flags.md:
            print(as_markdown(sections), end="")
        else:
            print_sections(sections, make_console())
