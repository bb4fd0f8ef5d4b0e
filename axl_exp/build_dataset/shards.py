"""The shards of one part, written beside their place and renamed when they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from array_record.python import array_record_module  # pyright: ignore

from axl_exp.build_dataset.journal import Shard
from axl_exp.data import DataError

# What TFDS writes: each record can be read by itself.
_OPTIONS = "group_size:1"


class ShardWriter:
    """Writes one shard; it is there only once `close` has returned."""

    def __init__(self, path: Path):
        self._path = path
        self._temporary = path.with_suffix(".tmp")
        self._writer = array_record_module.ArrayRecordWriter(str(self._temporary), _OPTIONS)
        self._digest = hashlib.sha256()
        self._num_examples = self._num_bytes = 0

    def write(self, example: bytes) -> None:
        """Add an example."""
        self._writer.write(example)
        self._digest.update(len(example).to_bytes(8, "big") + example)
        self._num_examples += 1
        self._num_bytes += len(example)

    def close(self) -> Shard:
        """Finish the shard and return what it has.

        Raises:
            OSError: It cannot be written.
            DataError: It cannot be read back.
        """
        try:
            self._writer.close()
        except RuntimeError as error:  # The library keeps a full disk to itself until here.
            raise OSError(str(error).splitlines()[0]) from error
        check_shard(self._temporary, num_examples=self._num_examples)
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._temporary, self._path)
        return Shard(
            name=self._path.name,
            num_examples=self._num_examples,
            num_bytes=self._num_bytes,
            sha256=self._digest.hexdigest(),
        )

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(RuntimeError):
            self._writer.close()
        self._temporary.unlink(missing_ok=True)


def check_shard(path: Path, *, num_examples: int) -> None:
    """Raise DataError unless the shard has so many examples and the last of them can be read."""
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        try:
            found = reader.num_records()
            if found:
                reader.read([found - 1])
        finally:
            reader.close()
    except Exception as error:  # What the library raises over damaged or missing bytes.
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}).") from error
    if found != num_examples:
        raise DataError(f"{path} has {found} documents where {num_examples} were written.")
