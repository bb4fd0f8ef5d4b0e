"""Directories of safetensors files: one file, or shards with an index, one tensor at a time."""

import contextlib
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors
from safetensors.numpy import save_file

from axl_exp.hugging_face.errors import HuggingFaceError
from axl_exp.run.files import RunFileError, current_umask, read_json, write_json

ONE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class TensorReader:
    """The tensors of a directory by name; a context manager. Files are mapped, not read whole.

    Attributes:
        directory: Where they lie.
        names: Every tensor's name.
    """

    def __init__(self, directory: Path):
        """Open the files and read their headers.

        Raises:
            HuggingFaceError: There are none, one is missing or broken, or a tensor is in none.
        """
        self.directory = directory
        self._stack = contextlib.ExitStack()
        self._files: dict[str, Any] = {}
        try:
            for file, names in _files(directory).items():
                self._open(directory / file, names)
        except BaseException:
            self._stack.close()
            raise
        self.names = frozenset(self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading it."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """Return a tensor, in the dtype of the file.

        Raises:
            HuggingFaceError: Its bytes cannot be read, or are of a dtype that numpy lacks.
        """
        try:
            return self._files[name].get_tensor(name)
        except Exception as error:  # The library raises several kinds.
            raise HuggingFaceError(
                f"{self.directory}: tensor {name} cannot be read ({error})."
            ) from error

    def _open(self, path: Path, names: list[str] | None) -> None:
        try:
            file = self._stack.enter_context(safetensors.safe_open(path, framework="np"))
        except FileNotFoundError as error:
            raise HuggingFaceError(
                f"{path} is missing, which {INDEX_FILE} names. Copy it there."
            ) from error
        except (safetensors.SafetensorError, OSError) as error:
            raise HuggingFaceError(
                f"{path} is no safetensors file, or is cut off ({error}). Copy it again."
            ) from error
        there = set(file.keys())
        for name in there if names is None else names:
            if name not in there:
                raise HuggingFaceError(
                    f"{path} lacks the tensor {name}, against {INDEX_FILE}. Copy both again."
                )
            self._files[name] = file


def _files(directory: Path) -> dict[str, list[str] | None]:
    """Return the names of the tensors in each file; None for all that are there."""
    if (directory / INDEX_FILE).is_file():
        try:
            weight_map = read_json(directory / INDEX_FILE).get("weight_map")
        except RunFileError as error:
            raise HuggingFaceError(f"{error}. Copy it again.") from error
        if not isinstance(weight_map, dict):
            raise HuggingFaceError(f"{directory / INDEX_FILE} has no weight_map. Copy it again.")
        files: dict[str, list[str] | None] = {}
        for name, file in weight_map.items():
            if not isinstance(file, str) or Path(file).name != file:
                raise HuggingFaceError(
                    f"{directory / INDEX_FILE}: {file!r} is no name of a file beside it."
                )
            names = files.setdefault(file, [])
            assert names is not None
            names.append(name)
        return files
    if (directory / ONE_FILE).is_file():
        return {ONE_FILE: None}
    raise HuggingFaceError(
        f"{directory} has neither {ONE_FILE} nor {INDEX_FILE}. Weights of another format (*.bin, "
        "*.pth) must be saved as safetensors first."
    )


class TensorWriter:
    """Writes tensors into shards as they come, then the index: no more than one shard in memory.

    A single shard becomes `model.safetensors`. Until `close` the files have names that no reader
    takes for a shard.
    """

    def __init__(self, directory: Path, *, max_shard_bytes: int):
        self._directory = directory
        self._max_shard_bytes = max_shard_bytes
        self._pending: dict[str, np.ndarray] = {}
        self._pending_bytes = 0
        self._shards: list[list[str]] = []
        self._total_bytes = 0

    def add(self, name: str, tensor: np.ndarray) -> None:
        """Take one more tensor; one that is larger than a shard has a shard of its own."""
        if self._pending and self._pending_bytes + tensor.nbytes > self._max_shard_bytes:
            self._flush()
        self._pending[name] = np.ascontiguousarray(tensor)
        self._pending_bytes += tensor.nbytes

    def close(self) -> list[str]:
        """Write what is left and the index; return the names of the files."""
        self._flush()
        count = len(self._shards)
        names = (
            [ONE_FILE]
            if count == 1
            else [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
        )
        for i, name in enumerate(names):
            os.chmod(self._part(i), 0o666 & ~current_umask())  # They are made for us alone.
            os.replace(self._part(i), self._directory / name)
        if count > 1:
            weight_map = {
                tensor: file
                for file, tensors in zip(names, self._shards, strict=True)
                for tensor in tensors
            }
            index = {
                "metadata": {"total_size": self._total_bytes},
                "weight_map": dict(sorted(weight_map.items())),
            }
            write_json(self._directory / INDEX_FILE, index)
            names.append(INDEX_FILE)
        return names

    def _flush(self) -> None:
        # "pt": how transformers knows that no other framework's layout is meant.
        save_file(self._pending, self._part(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._pending))
        self._total_bytes += self._pending_bytes
        self._pending, self._pending_bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self._directory / f".part-{number}.unfinished"
