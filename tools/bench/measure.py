"""Samples of several sides taken in turns, and what may be said of them.

A shared machine drifts, so sides are never measured one after the other: each round measures all of
them, in an order that reverses from round to round, and a ratio is taken within a round.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping


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
        names = list(sides) if round_index % 2 == 0 else list(reversed(sides))
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
