"""`suite list` and `suite show`."""

from __future__ import annotations

import json
from dataclasses import asdict

from axl_exp.registry import list_suites, load_suite
from axl_exp.report.terminal import make_console, make_table
from axl_exp.suite.definition import Case


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
        (case.name, " ".join((case.config, *case.overrides)), _told(case)) for case in suite.cases
    ]
    make_console().print(make_table("case", "config", "what for", rows=rows))
    return 0


def _told(case: Case) -> str:
    """Return what a case is there to show, how it runs, and what it is held against."""
    told = [case.about] if case.about else []
    if case.interrupt_at_step is not None:
        told.append(f"stopped at step {case.interrupt_at_step} and resumed")
    if case.losses_of:
        bound = f"within {case.within:g}" if case.within else "to the bit"
        told.append(f"must have the losses of {case.losses_of}, {bound}")
    return "; ".join(told)
