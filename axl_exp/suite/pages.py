"""A suite's result as HTML: the matrix, and a page per case with the ones before and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axl_exp.compare.page import render_comparisons
from axl_exp.compare.words import LOOKS
from axl_exp.report.html.page import Link, Navigation, render_page
from axl_exp.run.files import write_text
from axl_exp.suite.matrix import Cell, matrix
from axl_exp.suite.result import CaseResult, SuiteResult
from axl_exp.suite.trial import Trial

_TEMPLATES = Path(__file__).parent / "templates"
_INDEX = "index.html"


def write_pages(result: SuiteResult, folder: Path) -> Path:
    """Write `index.html` and a page per case that was compared; return the path of the index."""
    folder.mkdir(parents=True, exist_ok=True)
    session = result.session
    index = Link(_INDEX, f"suite {session.suite.name}")
    compared = [case for case in result.cases if case.comparison is not None]
    for place, case in enumerate(compared):
        assert case.comparison is not None
        before = compared[place - 1] if place else None
        after = compared[place + 1] if place + 1 < len(compared) else None
        page = render_comparisons(
            [case.comparison],
            title=f"{case.case.name}: {session.head.name} against {session.base.name}",
            navigation=Navigation(previous=_link(before), next=_link(after), index=index),
        )
        write_text(folder / _file(case), page)
    table = matrix(result.cases)
    page = render_page(
        "matrix.html.j2",
        templates=_TEMPLATES,
        title=f"suite {session.suite.name}",
        navigation=Navigation(next=_link(compared[0] if compared else None)),
        suite=session.suite,
        headline=result.headline,
        style=LOOKS[_worst(result)][1] if result.cases else "unsure",
        sides=[("A", session.base), ("B", session.head)],
        repeats=session.repeats,
        columns=table.columns,
        common=table.common,
        rows=[_row(case, row, folder) for case, row in zip(result.cases, table.rows, strict=True)],
    )
    write_text(folder / _INDEX, page)
    return folder / _INDEX


def _worst(result: SuiteResult) -> Any:
    order = ("worse", "unsure", "better", "noise")
    return min((case.state for case in result.cases), key=lambda s: order.index(LOOKS[s][1]))


def _row(case: CaseResult, row: list[Cell], folder: Path) -> dict[str, Any]:
    icon, style = LOOKS[case.state]
    return {
        "name": case.case.name,
        "about": case.case.about,
        "href": _file(case) if case.comparison is not None else None,
        "icon": icon,
        "style": style,
        "state": str(case.state),
        "headline": case.headline,
        "cells": row,
        "failures": [
            (t.name, failure, _relative(t, folder)) for t, failure in case.failures.items()
        ],
    }


def _relative(trial: Trial, folder: Path) -> str:
    try:
        return trial.output.absolute().relative_to(folder.absolute()).as_posix()
    except ValueError:
        return trial.output.absolute().as_uri()


def _link(case: CaseResult | None) -> Link | None:
    return None if case is None else Link(_file(case), case.case.name)


def _file(case: CaseResult) -> str:
    return f"{case.case.name}.html"
