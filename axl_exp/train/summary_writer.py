"""Metrics out: every record to metrics.jsonl at once, every n-th to TensorBoard."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from axl_exp.config import Configurable, config_class
from axl_exp.run.layout import RunDir
from axl_exp.run.metrics import MetricsWriter
from axl_exp.train.event_writer import EventWriter


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
        # Events that may wait to be written before the writer blocks.
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
            str(run_dir.tensorboard), max_queue=cfg.max_queue, purge_step=first_step
        )

    def write(self, step: int, values: Mapping[str, Any], *, rare: bool = False) -> None:
        """Write one record; `rare` records (an evaluation) go to TensorBoard at any step."""
        self._records.write({"step": step, **values})
        if rare or step % self._every_n_steps == 0:
            for name, value in values.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    self._events.add_scalar(name, value, step)

    def event(self, name: str, *, step: int, **fields: Any) -> None:
        """Write what happened, such as a restart."""
        self._records.event(name, step=step, **fields)

    def sync(self) -> None:
        """Return once every record is on the disk: a checkpoint must not outlive its records."""
        self._records.sync()

    def close(self) -> None:
        """Write what waits and close the files."""
        self._records.close()
        try:
            self._events.close()
        except OSError as error:  # A full disk: metrics.jsonl has told of it, and it is the record.
            logging.warning("the last TensorBoard events are lost: %s", error.strerror)
