"""The difference of two sweeps, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from axl_exp.dryrun.diff.changes import SweepDiff
from axl_exp.dryrun.section import Section

_MAX_NAMES = 4


def section_of_diff(found: SweepDiff, *, a: str, b: str) -> Section:
    """Return the table of what changes from commit `a` to `b`; rows that change alike are one."""
    rows = [
        (
            _names([row.config for row in group.rows]),
            _names([row.selector for row in group.rows]),
            str(len(group.rows)),
            "; ".join(group.told),
        )
        for group in found.groups()
    ]
    same = found.num_rows - len(found.rows)
    after = f"{len(found.rows)} of {found.num_rows} change, {same} stay as they are."
    told = after if found.rows else f"Nothing changes in {found.num_rows} dry runs."
    if found.without:
        told += f" Without one at either commit: {len(found.without)}, such as: {found.without[0]}"
    return Section(
        before=f"From {a} to {b}",
        headers=("config", "hardware", "rows", "changes") if rows else (),
        rows=rows,
        right=(2,),
        after=told,
    )


def diff_json(found: SweepDiff, *, a: str, b: str) -> dict[str, Any]:
    """Return the difference as plain JSON values; `a` and `b` are the commits."""
    return {
        "a": a,
        "b": b,
        "num_rows": found.num_rows,
        "without_dry_run": list(found.without),
        "changed": [
            {
                "config": row.config,
                "selector": row.selector,
                "changes": [
                    {"fact": each.fact, "before": each.before, "after": each.after}
                    for each in row.changes
                ],
            }
            for row in found.rows
        ],
    }


def _names(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - _MAX_NAMES
    told = ", ".join(distinct[:_MAX_NAMES])
    return f"{told} and {more} more" if more > 0 else told
