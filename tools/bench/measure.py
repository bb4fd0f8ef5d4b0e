"""Samples of several sides taken in turns, and what may be said of them.

A shared machine drifts, so sides are never measured one after the other: each round measures all of
them, in an order that reverses from round to round, and a ratio is taken within a round.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Side:
    """One side's seconds, a sample per round."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A side over the baseline: the median over rounds, and the lowest and highest round."""

    median: float
    low: float
    high: float


def measure_in_turns(sides: Mapping[str, Callable[[], float]], *, num_rounds: int) -> list[Side]:
    """Return each side's samples, in the order of `sides`; each callable returns seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_index in range(num_rounds):
        names = list(sides) if round_index % 2 == 0 else list(sides)[::-1]
        for name in names:
            seconds[name].append(sides[name]())
    return [Side(name, tuple(samples)) for name, samples in seconds.items()]


def ratio(side: Side, baseline: Side) -> Ratio:
    """Return `side / baseline`, taken round by round.

    Raises:
        ValueError: The sides have not the same number of rounds.
    """
    by_round = [a / b for a, b in zip(side.seconds, baseline.seconds, strict=True)]
    return Ratio(statistics.median(by_round), min(by_round), max(by_round))


@dataclasses.dataclass(frozen=True)
class Report:
    """Sides measured in turns; the first is the baseline of every ratio."""

    title: str
    sides: list[Side]
    # What the numbers should be.
    goal: str
    # What else a reader must know: sizes, conditions, checks that were passed.
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """Return name, median, lowest, highest, ratio and its spread of each side, as text."""
        rows = []
        for side in self.sides:
            over = ratio(side, self.sides[0])
            rows.append(
                (
                    side.name,
                    f"{side.median:.4f}",
                    f"{min(side.seconds):.4f}",
                    f"{max(side.seconds):.4f}",
                    f"{over.median:.3f}",
                    f"{over.low:.3f}-{over.high:.3f}",
                )
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw."""
        return {
            "title": self.title,
            "goal": self.goal,
            "notes": list(self.notes),
            "sides": [
                {
                    "name": side.name,
                    "seconds": list(side.seconds),
                    "median_seconds": side.median,
                    "ratio": dataclasses.asdict(ratio(side, self.sides[0])),
                }
                for side in self.sides
            ],
        }
