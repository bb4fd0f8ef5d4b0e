"""Export: a checkpoint of a run as a directory that other tools load."""

import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from axl_exp.data.vocabulary_copy import export_vocabulary
from axl_exp.errors import UserError
from axl_exp.hugging_face import TensorWriter, llama_config, llama_tensors
from axl_exp.run.files import current_umask, write_json
from axl_exp.train.checkpoint_params import CheckpointParams
from axl_exp.trained_run import TrainedRun

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


class ExportError(UserError):
    """A directory that cannot be written."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        step: The checkpoint's step.
        num_params: Numbers in its tensors.
        files: Names of the files.
    """

    step: int
    num_params: int
    files: tuple[str, ...]


def export(
    run: TrainedRun,
    to: Path,
    *,
    step: int | None = None,
    ema: bool = False,
    dtype: str = "float32",
    max_shard_bytes: int,
    say: Callable[[str], None],
) -> Exported:
    """Write a checkpoint of `run` into the new directory `to`, in Hugging Face's layout.

    It is written beside its place and renamed when it is whole. One parameter of ours and one shard
    are in memory at a time. The parameters are float32: as such they come back to the bit.

    Args:
        run: The run.
        to: Where; it must not exist, or be an empty directory.
        step: The checkpoint; None for the newest that is whole.
        ema: Export the running means of the parameters.
        dtype: `float32`, or `bfloat16`, to which numbers are rounded.
        max_shard_bytes: Above so many bytes of tensors there are several files and an index.
        say: Told what is done.

    Raises:
        HuggingFaceError: No Llama computes what this model does.
        CheckpointError: The checkpoint is missing or damaged.
        ExportError: `to` is taken or cannot be written.
    """
    _check_free(to)
    llama = llama_config(run.config.model)
    params = run.open_params(step=step, ema=ema)
    say(f"exporting step {params.step} of {run.run_dir.path} as {llama['architectures'][0]}")
    vocabulary = run.open_vocabulary()
    llama |= {
        "max_position_embeddings": run.config.input.max_sequence_length,
        # A document of ours begins with what ends the one before it.
        "bos_token_id": vocabulary.eos_id,
        "eos_token_id": vocabulary.eos_id,
        "torch_dtype": dtype,
    }
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}.unfinished-"))
        try:
            writer = TensorWriter(unfinished, max_shard_bytes=max_shard_bytes)
            num_params = _write_tensors(run, params, writer, dtype=DTYPES[dtype])
            files = ["config.json", *writer.close()]
            write_json(unfinished / "config.json", llama)
            files.append(export_vocabulary(vocabulary, unfinished))
            os.chmod(unfinished, 0o777 & ~current_umask())  # mkdtemp lets nobody else in.
            os.replace(unfinished, to)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write {to}: {error.strerror or error}.") from error
    return Exported(params.step, num_params, tuple(files))


def _write_tensors(
    run: TrainedRun, params: CheckpointParams, writer: TensorWriter, *, dtype: np.dtype
) -> int:
    num_params = 0
    tensors = llama_tensors(run.config.model)
    for path, of_param in itertools.groupby(tensors, key=lambda tensor: tensor.path):
        param: Any = params.read([path])[path]
        for tensor in of_param:
            theirs = tensor.to_theirs(param[tensor.index]).astype(dtype)
            num_params += theirs.size
            writer.add(tensor.name, theirs)
    return num_params


def _check_free(to: Path) -> None:
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise ExportError(f"{to} is there already; name a new directory with --to.")
