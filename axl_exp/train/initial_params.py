"""Parameters to begin with: of a Llama in Hugging Face's layout, or of another run of ours."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from axl_exp.config.parse import parse_text
from axl_exp.config.text import flatten
from axl_exp.errors import UserError
from axl_exp.hugging_face import (
    TensorReader,
    check_tensors,
    llama_tensors,
    model_config,
    params_of_tensors,
    read_llama_config,
)
from axl_exp.model import CausalLM
from axl_exp.model.same_model import check_same_model
from axl_exp.run.layout import RunDir
from axl_exp.train.checkpoint_params import CheckpointParams

Shapes = Mapping[str, tuple[int, ...]]


class InitialParams(Protocol):
    """Parameters that can be read, one at a time."""

    def read(self, shapes: Shapes) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (path, float32 array) of every parameter; `shapes` are those of the model."""
        ...


class InitialParamsError(UserError):
    """No directory that parameters can be taken from."""


def open_initial_params(source: Path, cfg: CausalLM.Config) -> InitialParams:
    """Return the parameters in the directory `source`, once they are known to be those of `cfg`.

    Args:
        source: A directory of Hugging Face's layout, or of a run, whose newest whole checkpoint
            is taken.
        cfg: The model that is to begin with them.

    Raises:
        OtherModelError: They are another model's; the message names the fields.
        HuggingFaceError: Files are missing or broken, or of an architecture that is not ours.
        CheckpointError: The run has no checkpoint that can be read.
        InitialParamsError: It is neither.
    """
    if RunDir(source).config.is_file():
        return _OfRun(RunDir(source), cfg)
    if not source.is_dir():
        raise InitialParamsError(f"{source} is no directory: name one to take parameters from.")
    return _OfLlama(source, cfg)


class _OfLlama:
    def __init__(self, source: Path, cfg: CausalLM.Config):
        theirs = model_config(read_llama_config(source))
        check_same_model(flatten(cfg), flatten(theirs), source=str(source), any_layout=True)
        with TensorReader(source) as reader:
            check_tensors(reader, list(llama_tensors(cfg)))
        self._source, self._cfg = source, cfg

    def read(self, shapes: Shapes) -> Iterator[tuple[str, np.ndarray]]:
        with TensorReader(self._source) as reader:
            yield from params_of_tensors(reader, self._cfg, shapes=shapes)


class _OfRun:
    def __init__(self, run_dir: RunDir, cfg: CausalLM.Config):
        texts = parse_text(run_dir.config.read_text("utf-8"), source=str(run_dir.config)).texts
        theirs = {p.removeprefix("model."): t for p, t in texts.items() if p.startswith("model.")}
        check_same_model(flatten(cfg), theirs, source=str(run_dir.path))
        self._params = CheckpointParams(run_dir.checkpoints)

    def read(self, shapes: Shapes) -> Iterator[tuple[str, np.ndarray]]:
        self._params.check_shapes(shapes)
        for path in shapes:
            yield path, self._params.read([path])[path].astype(np.float32)
