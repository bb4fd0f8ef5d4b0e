"""`suite list` and `suite show`."""

from __future__ import annotations

import json
from dataclasses import asdict

from axl_exp.registry import list_suites, load_suite
from axl_exp.report.terminal import make_console, make_table


def show_suites(*, module: str | None, as_json: bool) -> int:
    """Print every suite with its cases; return 0."""
    suites = [load_suite(name, module=module) for name in list_suites(module=module)]
    if as_json:
        print(json.dumps({suite.name: [c.name for c in suite.cases] for suite in suites}, indent=2))
        return 0
    rows = [(s.name, ", ".join(case.name for case in s.cases), s.about) for s in suites]
    make_console().print(make_table("suite", "cases", "what for", rows=rows))
    return 0


def show_suite(name: str, *, module: str | None, as_json: bool) -> int:
    """Print the cases of a suite; return 0.

    Raises:
        UnknownSuiteError: There is no such suite.
    """
    suite = load_suite(name, module=module)
    if as_json:
        print(json.dumps(asdict(suite), indent=2))
        return 0
    rows = [
        (case.name, case.config, " ".join(case.overrides), _how(case.interrupt_at_step), case.about)
        for case in suite.cases
    ]
    make_console().print(make_table("case", "config", "overrides", "", "what for", rows=rows))
    return 0


def _how(interrupt_at_step: int | None) -> str:
    return "" if interrupt_at_step is None else f"stopped at step {interrupt_at_step}, resumed"
