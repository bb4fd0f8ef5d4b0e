"""The steps of a session, kept compactly: 40 bytes each, so a million steps are 40 MB."""

import array
import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass
class StepHistory:
    """Columns of what the summary needs of every finished step, in order."""

    _numbers: array.array = dataclasses.field(default_factory=lambda: array.array("d"))
    _classes: list[str] = dataclasses.field(default_factory=list)

    def add(self, step: int, record: dict[str, Any]) -> None:
        """Keep what counts of one step's record."""
        seconds, waited = record["perf/step_seconds"], record["time/data_wait_seconds"]
        self._numbers.extend((step, record["train/loss"], seconds, waited))
        self._classes.append(record["time/class"])

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
