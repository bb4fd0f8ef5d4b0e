"""The steps of a run, kept compactly: 40 bytes each, so a million steps are 40 MB."""

import array
import dataclasses
import functools
from typing import Any

import numpy as np

from axl_exp.run.metrics_reader import Metrics
from axl_exp.run.series import Labels, Series

_NUMBERS = ("train/loss", "perf/step_seconds", "time/data_wait_seconds")
_CLASS = "time/class"
_NOTHING = Series(np.zeros(0, np.int64), np.zeros(0))


@dataclasses.dataclass
class StepHistory:
    """Columns of what the summary needs of every finished step, in order."""

    _numbers: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    _classes: list[str] = dataclasses.field(default_factory=list)

    def add(self, step: int, record: dict[str, Any]) -> None:
        """Keep what counts of one step's record."""
        self._numbers.extend((step, *(record[name] for name in _NUMBERS)))
        self._classes.append(record[_CLASS])

    def add_records(self, metrics: Metrics, *, before_step: int) -> None:
        """Keep the steps that a metrics file tells of, up to `before_step`."""
        series: list[Series | Labels] = [metrics.numbers.get(name, _NOTHING) for name in _NUMBERS]
        series.append(metrics.labels.get(_CLASS, _NOTHING))
        steps = functools.reduce(np.intersect1d, (each.steps for each in series))
        steps = steps[steps < before_step]
        columns = [each.values[np.searchsorted(each.steps, steps)] for each in series]
        self._numbers.extend(np.stack([steps, *columns[:-1]], axis=1).astype(float).ravel())
        self._classes.extend(columns[-1])

    def __len__(self) -> int:
        return len(self._classes)

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, int64."""
        return self._column(0).astype(np.int64)

    @property
    def losses(self) -> np.ndarray:
        """Training losses, float64."""
        return self._column(1)

    @property
    def seconds(self) -> np.ndarray:
        """Step times, float64."""
        return self._column(2)

    @property
    def data_wait_seconds(self) -> np.ndarray:
        """How long the host waited for each batch, float64."""
        return self._column(3)

    @property
    def classes(self) -> np.ndarray:
        """Classes of `axl_exp.train.clock`, as strings."""
        return np.array(self._classes, dtype=object)

    def _column(self, index: int) -> np.ndarray:
        return np.array(self._numbers).reshape(-1, 4)[:, index]
