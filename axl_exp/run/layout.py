"""The files of a run directory. Every file name of it is here and nowhere else."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from axl_exp.errors import UserError


class RunDirError(UserError):
    """A run directory that cannot be made, written or read."""


@dataclass(frozen=True)
class RunDir:
    """The run directory at `path`: what a run leaves behind, and all that `compare` knows of it."""

    path: Path

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))

    @property
    def config(self) -> Path:
        """The flat text of the config that really ran."""
        return self.path / "config.txt"

    @property
    def writers(self) -> Path:
        """Who set each leaf of the config: JSON. See `axl_exp.run.writers`."""
        return self.path / "writers.json"

    @property
    def params(self) -> Path:
        """One line per parameter: shape, logical axes, sharding. See `axl_exp.run.params`."""
        return self.path / "params.txt"

    @property
    def env(self) -> Path:
        """Where, on what and from which commit it ran: JSON."""
        return self.path / "env.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line; see `axl_exp.run.metrics`."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """How it ended: JSON."""
        return self.path / "summary.json"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.path / "log.txt"

    def log_of_process(self, index: int) -> Path:
        """What one process of several said; process 0 writes `log`."""
        return self.log if index == 0 else self.path / f"log-process-{index}.txt"

    @property
    def tensorboard(self) -> Path:
        """Directory of TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Directory of checkpoints, one per saved step."""
        return self.path / "checkpoints"

    @property
    def data(self) -> Path:
        """Data directory with the run's vocabulary and nothing else."""
        return self.path / "data"

    def is_run(self) -> bool:
        """Return whether a run has begun here: its config or its metrics exist."""
        return os.path.isfile(self.config) or os.path.isfile(self.metrics)

    def make(self) -> RunDir:
        """Make the directory where it is missing, prove that it can be written, and return self.

        Raises:
            RunDirError: It cannot be made or written; the message carries the system's reason.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise RunDirError(
                f"cannot write to the run directory {self.path}: {error.strerror}. "
                "Choose another with --run_dir."
            ) from error
        return self
