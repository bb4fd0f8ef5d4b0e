"""Copies of a vocabulary's file: in a run directory, and beside exported weights."""

from pathlib import Path
from typing import Any

from axl_exp.data.errors import DataError
from axl_exp.data.vocabulary import Vocabulary, vocabulary_path

# What other tools call the file of each kind.
_THEIR_NAMES = {".model": "tokenizer.model", ".json": "tokenizer.json"}


def keep_vocabulary(vocabulary: Any, *, data_dir: Path) -> None:
    """Copy the file of an opened vocabulary into `data_dir`, so that its config opens it there.

    One of another class than ours, which may have no file, is left where it is.

    Raises:
        DataError: It cannot be written.
    """
    if not isinstance(vocabulary, Vocabulary):
        return
    to = Path(vocabulary_path(data_dir, vocabulary.config.model_name))
    if to.is_file():
        return
    unfinished = to.with_name(f".{to.name}.unfinished")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(vocabulary.path.read_bytes())
        unfinished.replace(to)
    except OSError as error:
        raise DataError(f"cannot copy the vocabulary to {to} ({error.strerror}).") from error


def adopt_vocabulary(directory: Path, *, model_name: str, data_dir: Path) -> bool:
    """Copy the vocabulary beside weights into `data_dir` as `model_name`; False if none is such.

    Raises:
        DataError: `model_name` is of no kind that there is.
    """
    to = Path(vocabulary_path(data_dir, model_name))
    found = directory / _THEIR_NAMES[to.suffix]
    if found.is_file():
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(found.read_bytes())
    return found.is_file()


def export_vocabulary(vocabulary: Any, directory: Path) -> str:
    """Copy the file of an opened vocabulary into `directory`; return its name there."""
    name = _THEIR_NAMES[Path(vocabulary.path).suffix]
    (directory / name).write_bytes(vocabulary.path.read_bytes())
    return name
