"""The matrix of a suite: one row per case, one column per figure, each cell with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axl_exp.compare.comparison import Comparison
from axl_exp.compare.figures import PEAK_MEMORY
from axl_exp.compare.load import Run
from axl_exp.compare.verdict import MetricResult
from axl_exp.compare.words import LOOKS, NONE, percent, value_told
from axl_exp.report.text import format_number
from axl_exp.suite.result import CaseResult

# Column -> the figures that may stand in it, the first that a case has.
_COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("final loss", ("train/loss",)),
    ("held-out loss", ("eval/validation/loss", "eval/held_out/loss")),
    ("s/step", ("perf/step_seconds@0.5",)),
    ("tok/s", ("perf/tokens_per_second@0.5",)),
    ("TFLOP/s", ("perf/tflops_per_device@0.5",)),
    ("MFU", ("perf/mfu@0.5",)),
    ("memory", (PEAK_MEMORY,)),
)
_FACTS = ("parameters", "JAX")


@dataclass(frozen=True)
class Cell:
    """A figure of the head, its change, and the verdict on it.

    Attributes:
        value: Of the head; `A -> B` of a fact that differs.
        change: In percent; empty where there is none.
        icon: ▲ ▼ ≈ ? or empty.
        style: A class of page.css.
        told: All of it in words.
    """

    value: str
    change: str = ""
    icon: str = ""
    style: str = "noise"
    told: str = ""


@dataclass(frozen=True)
class Matrix:
    """Headers, and the cells of each case; columns that no case fills are left out.

    Attributes:
        common: Facts that are the same in every case that has them, in words; they have no column.
    """

    columns: list[str]
    rows: list[list[Cell]]
    common: str


def matrix(results: Sequence[CaseResult]) -> Matrix:
    """Return the matrix of a suite's cases."""
    names = [*(name for name, _ in _COLUMNS), *_FACTS]
    rows = [_cells(result) for result in results]
    values = [{row[k].value for row in rows} - {NONE} for k in range(len(names))]
    common = {k for k in range(len(names)) if names[k] in _FACTS and len(values[k]) == 1}
    told = ", ".join(f"{names[k]} {min(values[k])}" for k in sorted(common))
    kept = [k for k in range(len(names)) if values[k] and k not in common]
    return Matrix([names[k] for k in kept], [[row[k] for k in kept] for row in rows], told)


def _cells(result: CaseResult) -> list[Cell]:
    c = result.comparison
    if c is None:
        return [Cell(NONE)] * (len(_COLUMNS) + len(_FACTS))
    return [*(_metric_cell(c, keys) for _, keys in _COLUMNS), *_fact_cells(c)]


def _metric_cell(c: Comparison, keys: tuple[str, ...]) -> Cell:
    by_figure = {m.figure or m.key: m for m in c.metrics} | {m.key: m for m in c.metrics}
    found = next((by_figure[key] for key in keys if key in by_figure), None)
    if found is None and "loss" in keys[0] and keys[0].startswith("eval/"):
        found = next((m for m in c.metrics if m.key.startswith("eval/") and "loss" in m.key), None)
    if found is None or found.b is None:
        return Cell(NONE)
    icon, style = LOOKS[found.state]
    change = "" if found.relative is None else percent(found.relative)
    value = value_told(found, found.b)
    told = f"{found.name}: {value_told(found, found.a)} to {value}, {found.state}: {_why(found)}"
    share = _memory_share(c.b) if found.key == PEAK_MEMORY else ""
    return Cell(value + share, change, icon, style, told)


def _why(metric: MetricResult) -> str:
    return metric.reason or "no reason told"


def _fact_cells(c: Comparison) -> list[Cell]:
    told = [(of(c.a), of(c.b)) for of in (_parameters, _jax)]
    return [Cell(b if a == b else f"{a} → {b}") for a, b in told]


def _jax(run: Run) -> str:
    return str((run.env.get("versions") or {}).get("jax", NONE))


def _parameters(run: Run) -> str:
    count = run.summary.get("num_params") or run.env.get("num_parameters")
    return format_number(count) if isinstance(count, int) else str(count or NONE)


def _memory_share(run: Run) -> str:
    """Return the peak against what there was to give; empty where the run does not tell both."""
    peak, limit = (run.summary.get(key) for key in (PEAK_MEMORY, "available_memory_bytes"))
    if not isinstance(peak, (int, float)) or not isinstance(limit, (int, float)) or not limit:
        return ""
    return f" ({100 * peak / limit:.1f} %)"
