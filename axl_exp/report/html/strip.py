"""A strip: what class each step was of, one coloured box per stretch of equal steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from axl_exp.report.html.chart import WIDTH
from axl_exp.report.html.scale import COLUMNS


@dataclass(frozen=True)
class Box:
    """A stretch of steps of one class, in the drawing's units."""

    left: float
    width: float
    style: str
    told: str


@dataclass(frozen=True)
class Strip:
    """The steps of one run, by class."""

    name: str
    boxes: list[Box]


def make_strip(
    name: str,
    steps: np.ndarray,
    classes: Sequence[str],
    seconds: np.ndarray,
    *,
    window: tuple[int, int],
    styles: Mapping[str, str],
    usual: str,
) -> Strip:
    """Return the strip of a run over the steps of `window`.

    Where more steps than pixels stand in one column, the longest one that is not `usual` gives the
    column its colour: what is rare must not vanish.

    Args:
        steps: Ascending.
        classes: One per step.
        seconds: One per step.
        window: First and last step that the strip covers.
        styles: class -> a class of page.css.
        usual: The class that most steps have.
    """
    first, last = window
    num_steps = last - first + 1
    columns = min(num_steps, COLUMNS)
    column = (np.asarray(steps) - first) * columns // num_steps
    chosen: dict[int, int] = {}  # column -> index of the step that gives it its colour
    for i, c in enumerate(column.tolist()):
        known = chosen.get(c)
        if known is None or _rank(classes[i], seconds[i], usual) > _rank(
            classes[known], seconds[known], usual
        ):
            chosen[c] = i
    boxes: list[Box] = []
    start = 0
    order = sorted(chosen)
    for at, c in enumerate(order):
        following = order[at + 1] if at + 1 < len(order) else None
        same = following == c + 1 and classes[chosen[c]] == classes[chosen[order[at + 1]]]
        if same:
            continue
        indices = [chosen[k] for k in order[start : at + 1]]
        boxes.append(_box(indices, order[start], c, steps, classes, seconds, columns, styles))
        start = at + 1
    return Strip(name, boxes)


def _rank(name: str, seconds: float, usual: str) -> tuple[bool, float]:
    return name != usual, seconds


def _box(
    indices: list[int],
    left: int,
    right: int,
    steps: np.ndarray,
    classes: Sequence[str],
    seconds: np.ndarray,
    columns: int,
    styles: Mapping[str, str],
) -> Box:
    name = classes[indices[0]]
    first, last = int(steps[indices[0]]), int(steps[indices[-1]])
    where = f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
    longest = max(float(seconds[i]) for i in indices)
    return Box(
        left=round(left * WIDTH / columns, 2),
        width=round((right - left + 1) * WIDTH / columns, 2),
        style=styles.get(name, "other"),
        told=f"{where}: {name}, {'longest ' if first != last else ''}{longest:.4g} s",
    )
