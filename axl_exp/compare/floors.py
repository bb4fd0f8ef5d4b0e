"""Noise floors: by how much runs of the same code on the same hardware differ."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from axl_exp.compare.student import t_quantile
from axl_exp.run.store import RunFigure

# Five or so figures are judged by floors at once, so each is exceeded by 1 % of A/A pairs: at most
# 5 % of comparisons of one code with itself show any.
COVERAGE = 0.99
MIN_RUNS = 3  # Of one code: two say next to nothing of a spread.
SMALLEST = 0.001  # Nobody acts on a change of less than 0.1 %, however well it repeats.


@dataclass(frozen=True)
class Floor:
    """The relative change that runs of the same code show.

    Attributes:
        assumed: Taken for it where nothing is measured; of one run against one.
        spread: Standard deviation of one run, relative; None where nothing is measured.
        degrees: Degrees of freedom of `spread`.
        num_runs: A/A runs that it was measured on.
        least: Below this it never goes.
    """

    assumed: float
    spread: float | None = None
    degrees: int = 0
    num_runs: int = 0
    least: float = SMALLEST

    def between(self, num_a: int, num_b: int) -> float:
        """Return the floor of a mean of `num_b` runs against one of `num_a`: 0.02 is 2 %.

        Student's t quantile of what was measured: a spread that few runs tell counts for more.
        What is assumed is not made smaller by repeats.
        """
        if self.spread is None:
            return max(self.assumed, self.least)
        t = t_quantile((1 + COVERAGE) / 2, self.degrees)
        return max(self.least, t * self.spread * math.sqrt(1 / num_a + 1 / num_b))

    def told(self, num_a: int, num_b: int) -> str:
        """Return it in words, with where it comes from."""
        percent = 100 * self.between(num_a, num_b)
        if self.spread is None:
            return f"the assumed run-to-run floor of {percent:.3g} %"
        return f"the noise floor of {percent:.3g} % from {self.num_runs} A/A runs"


@dataclass(frozen=True)
class Floors:
    """What is stored for one config on one hardware.

    Attributes:
        spreads: Figure -> (standard deviation of one run, degrees of freedom, number of runs).
        one_seed: Figures of which every A/A group repeats one seed.
        config, hardware: What they are of.
    """

    spreads: Mapping[str, tuple[float, int, int]] = field(default_factory=dict)
    one_seed: frozenset[str] = frozenset()
    config: str = ""
    hardware: str = ""

    def floor(self, figure: str, *, assumed: float, by_seed: bool = False) -> Floor:
        """Return the floor of a figure.

        Args:
            figure: As `run_figures` calls it.
            assumed: Taken where nothing is measured.
            by_seed: The seed moves it: repeats of one seed cannot lower what is assumed.
        """
        found = self.spreads.get(figure)
        if found is None:
            return Floor(assumed)
        spread, degrees, num_runs = found
        least = assumed if by_seed and figure in self.one_seed else SMALLEST
        return Floor(assumed, spread, degrees, num_runs, least=max(least, SMALLEST))


def floors_of(figures: Sequence[RunFigure], *, config: str, where: str) -> Floors:
    """Return the spreads within groups of one code, pooled over groups of at least MIN_RUNS."""
    groups: dict[tuple[str, str], list[RunFigure]] = defaultdict(list)
    for figure in figures:
        groups[figure.name, figure.code].append(figure)
    squares: dict[str, float] = defaultdict(float)
    degrees: dict[str, int] = defaultdict(int)
    one_seed: dict[str, bool] = {}
    for (name, _), group in sorted(groups.items()):
        values = np.array([figure.value for figure in group])
        mean = abs(float(values.mean()))
        if len(group) < MIN_RUNS or not np.isfinite(values).all() or mean == 0:
            continue
        squares[name] += float(((values - values.mean()) ** 2).sum()) / mean**2
        degrees[name] += len(group) - 1
        is_one = len({figure.seed for figure in group}) < len(group)
        one_seed[name] = one_seed.get(name, False) or is_one
    counts = {
        name: sum(len(g) for (n, _), g in groups.items() if n == name and len(g) >= MIN_RUNS)
        for name in degrees
    }
    spreads = {
        name: (math.sqrt(squares[name] / degrees[name]), degrees[name], counts[name])
        for name in degrees
    }
    return Floors(spreads, frozenset(n for n, is_one in one_seed.items() if is_one), config, where)
