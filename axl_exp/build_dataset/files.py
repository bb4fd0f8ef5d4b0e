"""The files that a dataset is built from, and what stands in them, in order.

Nothing is ever held whole but one document: files are read as streams, whatever their size.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow
import pyarrow.parquet

from axl_exp.data import DataError

KINDS = {
    ".txt": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_CHUNK_BYTES = 1 << 20
_PARQUET_ROWS = 64
_SHOWN_BYTES = 1000


class Record(NamedTuple):
    """What stands at one place of a file."""

    number: int
    """From 0: the line of a jsonl file, the row of a parquet file, the text of a text file."""

    content: bytes
    """The line, or the text of the document."""

    problem: str | None = None
    """Why there is no document to be read, if that is known already."""


class InputFile:
    """One file, and how to read it.

    Attributes:
        path: As the user named it.
        kind: `text`, `jsonl` or `parquet`.
        num_bytes: Its size on the disk.
    """

    def __init__(self, path: str):
        """Look at a file.

        Raises:
            DataError: Its name does not say what is in it.
        """
        self.path = path
        name = Path(path)
        self._compression = name.suffix if name.suffix in _COMPRESSIONS else ""
        suffix = Path(path.removesuffix(self._compression)).suffix
        if suffix not in KINDS or (KINDS[suffix] == "parquet" and self._compression):
            raise DataError(
                f"{path}: its name does not say what is in it. Known are *.txt, *.md, *.jsonl and "
                "*.ndjson, each also as .gz or .zst, and *.parquet."
            )
        self.kind = KINDS[suffix]
        stat = name.stat()
        self.num_bytes = stat.st_size
        self._changed_ns = stat.st_mtime_ns

    def identity(self) -> list[Any]:
        """Return what tells whether this is still the same file."""
        return [self.path, self.num_bytes, self._changed_ns]

    @contextlib.contextmanager
    def records(
        self, *, first: int, text_key: str, separator: bytes | None, max_bytes: int
    ) -> Iterator[tuple[Iterator[Record], Callable[[], int]]]:
        """Open the file; yields its records from number `first`, and how many bytes are read.

        Args:
            text_key: The column of a parquet file.
            separator: What stands between the documents of a text file; None: it is one document.
            max_bytes: A record that is longer is not held; its problem says so.
        """
        try:
            with open(self.path, "rb") as file:
                if self.kind == "parquet":
                    found = _parquet_records(file, self.path, text_key, first=first)
                elif self.kind == "jsonl":
                    # A JSON string may spell each byte as \\u00xx.
                    found = _split(self._plain(file), b"\n", max_bytes=6 * max_bytes + 1000)
                else:
                    found = _split(self._plain(file), separator, max_bytes=max_bytes)
                wanted = (record for record in found if record.number >= first)
                # Arrow closes what it has read to its end.
                yield self._checked(wanted), lambda: self.num_bytes if file.closed else file.tell()
        except OSError as error:
            raise DataError(f"Cannot read {self.path}: {error.strerror or error}.") from error

    def _plain(self, file: IO[bytes]) -> IO[bytes]:
        if not self._compression:
            return file
        # Arrow's, since it notices a file that ends early, and reads on where two were joined.
        stream = pyarrow.PythonFile(file, mode="r")
        return pyarrow.CompressedInputStream(stream, _COMPRESSIONS[self._compression])

    def _checked(self, records: Iterator[Record]) -> Iterator[Record]:
        number = -1
        try:
            for record in records:
                number = record.number
                yield record
        except (OSError, pyarrow.ArrowInvalid) as error:
            if getattr(error, "errno", None) is not None:
                raise  # The system's word, not Arrow's.
            where = "near its beginning" if number < 0 else f"after record {number}"
            raise DataError(
                f"{self.path} is damaged {where} ({error}). "
                "Replace it or leave it out; what was built before it is kept."
            ) from error


def find_files(patterns: Sequence[str]) -> list[InputFile]:
    """Return the files that patterns and paths name, sorted by path, each once.

    Raises:
        DataError: A pattern matches nothing, or a name says no kind.
    """
    paths: set[str] = set()
    for pattern in patterns:
        found = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)
        files = [path for path in found if Path(path).is_file()]
        if not files:
            inside = ": it is a directory, name the files in it" if Path(pattern).is_dir() else ""
            raise DataError(f"No file matches {pattern!r}{inside}, such as 'texts/*.jsonl.gz'.")
        paths.update(files)
    return [InputFile(path) for path in sorted(paths)]


def _split(stream: IO[bytes], separator: bytes | None, *, max_bytes: int) -> Iterator[Record]:
    """Yield what stands between separators; what ends with one ends there."""
    # Of a record that is too long, its beginning is kept for the report, and in `buffer` only what
    # may be the beginning of a separator.
    number, buffer, beginning = 0, bytearray(), None
    num_kept = len(separator or b".") - 1
    while chunk := stream.read(_CHUNK_BYTES):
        buffer += chunk
        *whole, buffer = [buffer] if separator is None else buffer.split(separator)
        for content in whole:
            yield _record(number, content, beginning, max_bytes)
            number, beginning = number + 1, None
        if beginning is not None or len(buffer) > max_bytes + num_kept:
            beginning = beginning or buffer[: min(_SHOWN_BYTES, max_bytes)]
            buffer = buffer[len(buffer) - num_kept :]
    if buffer or beginning or separator is None:
        yield _record(number, buffer, beginning, max_bytes)


def _record(number: int, content: bytearray, beginning: bytearray | None, max_bytes: int) -> Record:
    if beginning is not None or len(content) > max_bytes:
        return Record(number, bytes((beginning or content)[:_SHOWN_BYTES]), "too long")
    return Record(number, bytes(content))


def _parquet_records(file: IO[bytes], path: str, text_key: str, *, first: int) -> Iterator[Record]:
    table = pyarrow.parquet.ParquetFile(file)
    schema = table.schema_arrow
    if text_key not in schema.names:
        raise DataError(
            f"{path} has no column {text_key!r} (--text_key): its columns are "
            f"{', '.join(schema.names)}."
        )
    number = 0
    for group in range(table.num_row_groups):
        num_rows = table.metadata.row_group(group).num_rows
        if number + num_rows <= first:
            number += num_rows
            continue
        for batch in table.iter_batches(
            _PARQUET_ROWS, row_groups=[group], columns=[text_key], use_threads=False
        ):
            for value in _as_bytes(batch.column(0)).to_pylist():
                yield _parquet_record(number, value)
                number += 1


def _as_bytes(column: pyarrow.Array) -> pyarrow.Array:
    """Return text undecoded: what is not UTF-8 is one document's problem, not the file's."""
    if pyarrow.types.is_string(column.type):
        return column.cast(pyarrow.binary())
    if pyarrow.types.is_large_string(column.type):
        return column.cast(pyarrow.large_binary())
    return column


def _parquet_record(number: int, value: Any) -> Record:
    if value is None:
        return Record(number, b"", "missing field")
    if isinstance(value, bytes):
        return Record(number, value)
    return Record(number, str(value).encode()[:_SHOWN_BYTES], "not text")
