"""Rows of two sweeps, and what has changed between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from axl_exp.report.text import format_bytes, format_seconds

Facts = dict[str, str | float | None]


@dataclasses.dataclass(frozen=True)
class Change:
    """One fact of a row that differs; None where a side does not have it."""

    fact: str
    before: str | float | None
    after: str | float | None

    @property
    def told(self) -> str:
        """How it changes; the same text for the same relative change of different rows."""
        a, b = self.before, self.after
        if isinstance(a, str) or isinstance(b, str):
            return f"{self.fact}: {a or 'none'} -> {b or 'none'}"
        if not a or b is None:
            return f"{self.fact} is new" if not a else f"{self.fact} is gone"
        return f"{self.fact} {_percent(b / a - 1)}"

    @property
    def figures(self) -> str:
        """Both values in words; empty where `told` has them."""
        a, b = self.before, self.after
        if isinstance(a, str) or isinstance(b, str):
            return ""
        words = format_seconds if self.fact == STEP else format_bytes
        return " -> ".join("none" if value is None else words(value) for value in (a, b))


STEP = "step"


@dataclasses.dataclass(frozen=True)
class ChangedRow:
    """A config on a hardware, and what differs."""

    config: str
    selector: str
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that change in the same way."""

    rows: tuple[ChangedRow, ...]

    @property
    def told(self) -> list[str]:
        """What changes; with its figures where it is a single row."""
        changes = self.rows[0].changes
        if len(self.rows) > 1:
            return [change.told for change in changes]
        return [f"{c.told} ({c.figures})" if c.figures else c.told for c in changes]


@dataclasses.dataclass(frozen=True)
class SweepDiff:
    """What has changed between two sweeps."""

    num_rows: int
    rows: tuple[ChangedRow, ...]
    without: tuple[str, ...] = ()
    """Why there is no dry run, of each row that has none on either side for the same reason."""

    def groups(self) -> list[Group]:
        """Return the changed rows, those of one change together, the largest group first."""
        found: dict[tuple[str, ...], list[ChangedRow]] = {}
        for row in self.rows:
            found.setdefault(tuple(change.told for change in row.changes), []).append(row)
        return [Group(tuple(rows)) for rows in sorted(found.values(), key=len, reverse=True)]


def diff_sweeps(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> SweepDiff:
    """Return what differs between the rows that `dryrun --all --json` printed for two commits."""
    before, after = ({(row["config"], row["selector"]): row for row in rows} for rows in (a, b))
    pairs = sorted(before.keys() | after.keys())
    rows = []
    for pair in pairs:
        changes = _changes(_facts(before.get(pair)), _facts(after.get(pair)))
        if changes:
            rows.append(ChangedRow(*pair, changes))
    without = tuple(
        row["error"]
        for pair, row in before.items()
        if "error" in row and after.get(pair, {}).get("error") == row["error"]
    )
    return SweepDiff(len(pairs), tuple(rows), without)


def _changes(before: Facts, after: Facts) -> tuple[Change, ...]:
    if not before or not after:  # The verdict says what came or went.
        facts: Iterable[str] = ("verdict",)
    else:
        facts = dict.fromkeys((*before, *after))
    return tuple(
        Change(fact, before.get(fact), after.get(fact))
        for fact in facts
        if before.get(fact) != after.get(fact)
    )


def _facts(row: Mapping[str, Any] | None) -> Facts:
    if row is None:
        return {}
    if "error" in row:
        return {"verdict": f"error: {row['error']}"}
    plan, compiled = row["plan"], row.get("compiled")
    facts: Facts = {
        "verdict": "fits" if row["fits"] else "does not fit",
        "mesh": plan["mesh"],
        "parts of a batch": str(plan["accumulation_steps"]),
    }
    if compiled:
        memory, prediction = compiled["memory"], compiled["prediction"]
        facts["memory"] = memory["needed_bytes"]
        told = (compiled["collectives"], memory["host_bytes"])
    else:
        prediction = plan["roofline"]
        facts["memory"] = plan["memory"]["total_bytes"]
        told = (plan["collectives"], plan["memory"]["host_bytes"])
    collectives, facts["memory of the host"] = told
    facts[STEP] = prediction and prediction["step_seconds"]
    return facts | _communication(collectives)


def _communication(collectives: Iterable[Mapping[str, Any]]) -> Facts:
    total: dict[str, float | str | None] = {}
    for each in collectives:
        axes = "*".join(each["mesh_axes"])
        fact = f"{each['kind']} along {axes} over {each['link']}"
        total[fact] = float(total.get(fact) or 0) + each["num_bytes"]
    return total


def _percent(change: float) -> str:
    digits = 1 if abs(change) >= 0.001 else 4
    return f"{100 * change:+.{digits}f} %"
