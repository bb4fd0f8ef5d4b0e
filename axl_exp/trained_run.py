"""A run that somebody trained, from its directory alone: config, vocabulary and parameters."""

from __future__ import annotations

from typing import Any

from axl_exp.config import ConfigError
from axl_exp.config.build import build_config
from axl_exp.config.parse import parse_text
from axl_exp.registry import find_symbol
from axl_exp.run.layout import RunDir, RunDirError
from axl_exp.train.checkpoint_params import CheckpointParams
from axl_exp.train.state import PureModel


class TrainedRun:
    """The run in a directory, which is only read.

    Attributes:
        run_dir: The directory.
        config: The trainer config that ran.
        model: The model, without its parameters.
    """

    def __init__(self, run_dir: RunDir, *, module: str | None = None):
        """Read the config.

        Args:
            run_dir: The directory.
            module: The module of the user's own that parts of the config are from, if any are.

        Raises:
            RunDirError: There is no run, or its config is not one of this code.
        """
        self.run_dir = run_dir
        if not run_dir.config.is_file():
            what = f"has no {run_dir.config.name}" if run_dir.path.is_dir() else "is no directory"
            raise RunDirError(f"{run_dir.path} {what}: name the directory of a run.")
        try:
            flat = parse_text(run_dir.config.read_text("utf-8"), source=str(run_dir.config))
            self.config: Any = build_config(
                flat, find=lambda name: find_symbol(name, module=module)
            )
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            raise RunDirError(f"{run_dir.config}: {error}") from error
        self.model = PureModel(self.config.model)

    def open_vocabulary(self) -> Any:
        """Return the vocabulary, from the run's own copy.

        Raises:
            DataError: It is not there or cannot be read.
        """
        return self.config.input.vocabulary.instantiate(data_dir=self.run_dir.data)

    def open_params(self, *, step: int | None = None, ema: bool = False) -> CheckpointParams:
        """Return the reader of a checkpoint's parameters.

        Raises:
            CheckpointError: See there; or they are not the parameters of this config's model.
        """
        reader = CheckpointParams(self.run_dir.checkpoints, step=step, ema=ema)
        reader.check_shapes(self.model.param_shapes)
        return reader
