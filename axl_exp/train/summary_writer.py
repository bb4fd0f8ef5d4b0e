"""Metrics out: every record to metrics.jsonl at once, every n-th to TensorBoard."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from axl_exp.config import Configurable, config_class
from axl_exp.run.event_file import EventWriter
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import MetricsWriter


class Silence:
    """What a process writes to that is not the first: nothing, wherever a SummaryWriter would."""

    def write(self, step: int, values: Mapping[str, Any], *, rare: bool = False) -> None:
        """Write nothing."""

    def event(self, name: str, *, step: int, **fields: Any) -> None:
        """Write nothing."""

    def sync(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Close nothing."""


class SummaryWriter(Configurable):
    """Writes what a run measures."""

    @config_class
    class Config(Configurable.Config):
        # TensorBoard gets a step's record if this divides the step. metrics.jsonl gets all.
        write_every_n_steps: int = 100
        # Events for TensorBoard that wait in memory at most before they are written.
        max_queue: int = 1000

    def __init__(self, cfg: Config, *, run_dir: RunDir, header: Mapping[str, Any], first_step: int):
        """Args:
        header: What the first line of a new metrics.jsonl says beside its schema.
        first_step: The step to be trained next. TensorBoard drops what an earlier launch wrote of
            it and of later steps.
        """
        super().__init__(cfg)
        self._every_n_steps = cfg.write_every_n_steps
        self._records = MetricsWriter(run_dir.metrics, header=header)
        self._events = EventWriter(
            run_dir.tensorboard, first_step=first_step, max_queue=cfg.max_queue
        )

    def write(self, step: int, values: Mapping[str, Any], *, rare: bool = False) -> None:
        """Write one record; `rare` records (an evaluation) go to TensorBoard at any step."""
        self._records.write({"step": step, **values})
        if rare or step % self._every_n_steps == 0:
            numbers = {name: x for name, x in values.items() if isinstance(x, (int, float))}
            with _told_if_lost():
                self._events.scalars(numbers, step=step)

    def event(self, name: str, *, step: int, **fields: Any) -> None:
        """Write what happened, such as a restart."""
        self._records.event(name, step=step, **fields)

    def sync(self) -> None:
        """Return once every record is on the disk: a checkpoint must not outlive its records."""
        self._records.sync()

    def close(self) -> None:
        """Write what waits and close the files."""
        self._records.close()
        with _told_if_lost():
            self._events.close()


@contextlib.contextmanager
def _told_if_lost() -> Iterator[None]:
    """Let a run go on without events: metrics.jsonl is the record, and tells of a full disk."""
    try:
        yield
    except OSError as error:
        logging.warning("TensorBoard events are lost: %s", error.strerror or error)
