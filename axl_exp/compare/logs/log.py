"""What a log told: records in columns, facts, memory, waits, and what had to be repaired."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from axl_exp.errors import UserError
from axl_exp.run.packed import Packed


class LogError(UserError):
    """A file that is no log which we can read; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds for which the host stood still, as the log tells.

    Attributes:
        what: `step` (until the device finished a step), `previous save`, `blocking save`, `eval`.
        seconds: As printed.
        line: Where it stands.
        save_step: The step whose save it belongs to; None where it belongs to none.
    """

    what: str
    seconds: float
    line: int
    save_step: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """One line on memory: whose, when, and what it counts."""

    label: str
    device: str
    quantity: str
    num_bytes: float
    limit_bytes: float | None
    percent: float | None  # As printed: of values that were rounded before.
    line: int


@dataclass
class Cells:
    """One metric of the records that tell it: their rows, ascending, and a value of each.

    A record that lacks the metric has no cell: missing is not NaN.
    """

    rows: Packed = field(default_factory=lambda: Packed(dtype=np.int64))
    values: Packed = field(default_factory=Packed)


@dataclass
class Rows:
    """Step records in file order, as columns; each is unpacked whenever it is read.

    Attributes:
        packed_steps, packed_lines, packed_times, packed_sources: The columns as they are kept.
        source_names: Who printed records.
        cells: name -> the metric.
        quanta: name -> the unit in the last place printed, the coarsest one seen.
        are_pieces: Whether the sources are pieces of one run, one after the other.
    """

    packed_steps: Packed
    packed_lines: Packed
    packed_times: Packed
    packed_sources: Packed
    source_names: list[str]
    cells: dict[str, Cells]
    quanta: dict[str, float]
    are_pieces: bool = False

    def __len__(self) -> int:
        return len(self.packed_steps)

    @property
    def steps(self) -> np.ndarray:
        """The step number of each record, int64."""
        return self.packed_steps.unpack()

    @property
    def lines(self) -> np.ndarray:
        """The line it stands on, from 1, int64."""
        return self.packed_lines.unpack()

    @property
    def times(self) -> np.ndarray:
        """Its timestamp in seconds since an epoch of the log's own; NaN where it has none."""
        return self.packed_times.unpack()

    @property
    def sources(self) -> np.ndarray:
        """Index into `source_names`: who printed it; int64."""
        return self.packed_sources.unpack()


@dataclass
class Log:
    """One log, parsed. `facts` are those of an env.json; `arguments` the settings it prints.

    Attributes:
        results: What came of the run, beside its metrics: two runs may differ in it.
        rows: The step records.
        evals: The evaluation records.
        repairs: What had to be mended before the text could be read, in words.
        not_understood: Text that looks like a metric and was not read: (line, text), the first few.
        num_not_understood: How many such there are.
        notes: What a reader must know of the numbers.
        column_notes: What was chosen when the records became columns.
        activations: Name of an activation -> fact (shape, logical, physical) -> text.
        trace: Events of a pipeline schedule: (rank, pass, start or finished, tensor).
        failure: The error that ended the run, empty where none is told.
        has_ended: Whether the log tells that the run came to its end.
    """

    path: Path
    format: str
    rows: Rows
    evals: Rows
    facts: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    timers: dict[str, tuple[float, float]] = field(default_factory=dict)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    activations: dict[str, dict[str, str]] = field(default_factory=dict)
    trace: list[tuple[int, str, str, int]] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    column_notes: list[str] = field(default_factory=list)
    not_understood: list[tuple[int, str]] = field(default_factory=list)
    num_not_understood: int = 0
    failure: str = ""
    has_ended: bool = False
