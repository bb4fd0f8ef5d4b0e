"""A suite's result on the terminal, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from axl_exp.compare.as_json import comparison_value
from axl_exp.compare.as_markdown import comparison_details
from axl_exp.compare.words import LOOKS
from axl_exp.report.markdown import HALF_BYTES, code, escape, fitted, folded
from axl_exp.report.terminal import STYLES, indented, make_facts, make_tables
from axl_exp.report.text import one_line, printable
from axl_exp.run.files import strict_json
from axl_exp.suite.matrix import Cell, matrix
from axl_exp.suite.result import CaseResult, SuiteResult

SCHEMA = "axl_exp.suite_result/1"


def show(result: SuiteResult, console: Console) -> None:
    """Print the matrix, then a line per case."""
    session = result.session
    console.print(Text(f"Suite {session.suite.name}: {result.headline}", style="bold"))
    for side, ref in (("A", session.base), ("B", session.head)):
        note = f"; {ref.note}" if ref.note else ""
        console.print(Text(f"  {side} {printable(ref.name)} ({ref.commit[:12]}){note}"))
    table = matrix(result.cases)
    if table.common:
        console.print(indented(f"in every case: {table.common}"))
    rows = [
        [Text(one_line(case.case.name)), *map(_cell_text, cells)]
        for case, cells in zip(result.cases, table.rows, strict=True)
    ]
    numbers = range(1, len(table.columns) + 1)
    width = console.width
    for each in make_tables("case", *table.columns, rows=rows, right=numbers, width=width):
        console.print()
        console.print(each)
    console.print()
    console.print(make_facts(map(_case_told, result.cases)))


def _case_told(case: CaseResult) -> tuple[str, Text]:
    icon, style = LOOKS[case.state]
    return case.case.name, Text(one_line(f"{icon} {case.headline}"), style=STYLES[style])


def _cell_text(cell: Cell) -> Text:
    text = Text(one_line(cell.value))
    if cell.change:
        text.append(f"\n{cell.icon} {cell.change}", style=STYLES[cell.style])
    return text


def markdown(result: SuiteResult) -> str:
    """Return the result for a pull request: headline and matrix, every case's details folded."""
    session = result.session
    table = matrix(result.cases)
    lines = [
        f"### {_worst_icon(result)} Suite {code(session.suite.name)}: {result.headline}",
        "",
        f"{code(session.base.name)} ({session.base.commit[:8]}) against "
        f"{code(session.head.name)} ({session.head.commit[:8]}), "
        f"{session.repeats} run{'s' * (session.repeats > 1)} per side"
        + (f"; in every case {escape(table.common)}" if table.common else ""),
        "",
        "| case | verdict | " + " | ".join(table.columns) + " |",
        "|---|---|" + "---:|" * len(table.columns),
    ]
    for case, cells in zip(result.cases, table.rows, strict=True):
        told = " | ".join(_md_cell(cell) for cell in cells)
        icon, _ = LOOKS[case.state]
        lines.append(f"| {escape(case.case.name)} | {icon} {case.state} | {told} |")
    lines += ["", ""]  # A table ends at an empty line.
    details = map(_md_details, result.cases)
    rest = "The details of further cases are in the report."
    return fitted("\n".join(lines), details, rest=rest, most=HALF_BYTES)


def _worst_icon(result: SuiteResult) -> str:
    order = ("worse", "unsure", "better", "noise")
    looks = [LOOKS[case.state] for case in result.cases]
    return min(looks, key=lambda look: order.index(look[1]))[0] if looks else "?"


def _md_cell(cell: Cell) -> str:
    return escape(cell.value) + (f"<br>{cell.icon} {escape(cell.change)}" if cell.change else "")


def _md_details(case: CaseResult) -> str:
    icon, _ = LOOKS[case.state]
    failures = case.failures.items()
    lines = [f"- {escape(trial.name)} failed: {escape(failure)}" for trial, failure in failures]
    if case.comparison is not None:
        lines += comparison_details(case.comparison)
    return folded(f"{icon} {escape(case.case.name)}: {escape(case.headline)}", lines)


def result_json(result: SuiteResult) -> str:
    """Return the result as strict JSON: every comparison whole, schema as in `compare --json`."""
    session = result.session
    value = {
        "schema": SCHEMA,
        "suite": session.suite.name,
        "base": {"name": session.base.name, "commit": session.base.commit},
        "head": {"name": session.head.name, "commit": session.head.commit},
        "repeats": session.repeats,
        "headline": result.headline,
        "exit_code": result.exit_code,
        "cases": [
            {
                "name": case.case.name,
                "state": str(case.state),
                "headline": case.headline,
                "failures": {trial.name: failure for trial, failure in case.failures.items()},
                "same_losses": {side: asdict(same) for side, same in case.same_losses.items()},
                "comparison": case.comparison and comparison_value(case.comparison),
            }
            for case in result.cases
        ],
    }
    return json.dumps(strict_json(value), indent=2, allow_nan=False)
