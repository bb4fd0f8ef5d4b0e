"""A build from its first file to the finished dataset; a rerun goes on where a killed one was."""

from __future__ import annotations

import array
import collections
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from axl_exp.build_dataset.duplicates import count_duplicates, note_hashes
from axl_exp.build_dataset.encode import (
    Encoder,
    Example,
    Recipe,
    Skipped,
    encode_in_worker,
    start_worker,
)
from axl_exp.build_dataset.files import InputFile, Record
from axl_exp.build_dataset.finish import NUM_EXAMPLES, finish, num_shards, paths_of
from axl_exp.build_dataset.journal import Journal, Part, Shard
from axl_exp.build_dataset.shards import ShardWriter, check_shard
from axl_exp.data import DataError

try:
    import fcntl
except ImportError:  # Windows: two builds into one directory are not kept apart there.
    fcntl = None

# Records that a worker gets at a time.
_CHUNK_RECORDS, _CHUNK_BYTES = 256, 1 << 20


@dataclasses.dataclass(frozen=True)
class Build:
    """What is to be built, and of what.

    Attributes:
        name: `name:1.0.0` or `name/config:1.0.0`.
        separator: What stands between the documents of a text file; None: a file is a document.
        shard_bytes: Text of a shard's documents, about.
        num_processes: Workers beside this process; 0 does everything in it.
    """

    name: str
    data_dir: Path
    files: Sequence[InputFile]
    recipe: Recipe
    separator: str | None
    shard_bytes: int
    num_processes: int

    @property
    def path(self) -> Path:
        """Where the dataset will be."""
        return self.data_dir / self.name.replace(":", "/")

    @property
    def unfinished(self) -> Path:
        """Where it is as long as something is missing."""
        return self.path.with_name(f".{self.path.name}.unfinished")


@dataclasses.dataclass(frozen=True)
class Built:
    """What a build came to."""

    parts: list[Part]
    num_duplicates: int
    """Documents that have the text of an earlier one; they are kept."""


@dataclasses.dataclass
class Progress:
    """How far a build is."""

    num_documents: int = 0
    num_skipped: int = 0
    num_tokens: int = 0
    num_text_bytes: int = 0
    file_bytes: int = 0
    """Bytes of the files that were read, as they lie on the disk."""


def build(
    wanted: Build, *, on_progress: Callable[[Progress], None], say: Callable[[str], None]
) -> Built:
    """Build the dataset, or go on with it, and return what it came to.

    Raises:
        DataError: It is there already, another build of it is running or unfinished, a file is
            damaged or changed meanwhile, no document was found, or the disk is full.
    """
    if wanted.path.exists():
        raise DataError(f"{wanted.path} is there already: delete it, or name another version.")
    header = _header(wanted)
    try:
        wanted.unfinished.mkdir(parents=True, exist_ok=True)
        with _alone(wanted.unfinished):
            journal = Journal(wanted.unfinished, header)
            if journal.parts:
                _check_resumed(wanted, journal)
                num_kept = sum(num_shards(part) for part in journal.parts)
                say(f"Going on with the build in {wanted.unfinished}: {num_kept} shards are done.")
            if journal.position.file < len(wanted.files):
                _remove_unnoted(wanted.unfinished, journal)
                _make_parts(wanted, journal, on_progress)
            if not any(num_shards(part) for part in journal.parts):
                shutil.rmtree(wanted.unfinished, ignore_errors=True)
                raise DataError(_nothing_found(journal))
            num_duplicates = count_duplicates(wanted.unfinished, len(journal.parts))
            finish(wanted.unfinished, wanted.path, wanted.name, wanted.recipe, journal)
    except BrokenProcessPool as error:
        raise DataError(
            "A worker died, perhaps for want of memory. The same command goes on where this one "
            "ended; --num_processes=0 needs the least."
        ) from error
    except OSError as error:
        raise DataError(
            f"Cannot write {wanted.unfinished}: {error.strerror or error}. With room for it, the "
            "same command goes on where this one ended."
        ) from error
    return Built(journal.parts, num_duplicates)


def _header(wanted: Build) -> dict[str, Any]:
    vocabulary = wanted.recipe.open_vocabulary()
    return {
        "dataset_name": wanted.name,
        "files": [file.path for file in wanted.files],
        "text_key": wanted.recipe.text_key,
        "separator": wanted.separator,
        "max_document_bytes": wanted.recipe.max_document_bytes,
        "validation_share": wanted.recipe.validation_share,
        "replace_newlines_with": wanted.recipe.replace_newlines_with,
        "vocabulary": wanted.recipe.vocabulary,
        "vocabulary_sha256": None if vocabulary is None else vocabulary.sha256,
        "shard_bytes": wanted.shard_bytes,
    }


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no second build writes into it."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"Another build is writing {folder}. Wait for it.") from error
        yield
    finally:
        os.close(descriptor)


def _check_resumed(wanted: Build, journal: Journal) -> None:
    """Raise DataError where a file that was read, or a shard that was written, has changed."""
    for part in journal.parts:
        for index, identity in part["files"].items():
            file = wanted.files[int(index)]
            if file.identity() != identity:
                raise DataError(
                    f"{file.path} has changed since it was read. Delete {wanted.unfinished} to "
                    "begin again."
                )
    for path, final, shard in paths_of(wanted.unfinished, wanted.name, journal.parts):
        check_shard(path if path.exists() else final, num_examples=shard["num_examples"])


def _remove_unnoted(folder: Path, journal: Journal) -> None:
    """Remove shards that a kill left before their part was noted."""
    noted = {shard["name"] for part in journal.parts for shard in part["shards"].values()}
    for path in folder.glob("part-*"):
        if path.name not in noted:
            path.unlink()


def _nothing_found(journal: Journal) -> str:
    examples = [example for part in journal.parts for example in part["examples"]]
    if not examples:
        return "There is no document in the files."
    first = examples[0]
    return (
        f"There is no document in the files. All records were skipped; the first is record "
        f"{first['record']} of {first['file']}: {first['reason']} ({first['beginning']!r})."
    )


# -- parts --------------------------------------------------------------------------------------


def _make_parts(wanted: Build, journal: Journal, on_progress: Callable[[Progress], None]) -> None:
    progress = _progress_of(wanted, journal)
    maker = _PartMaker(wanted, journal)
    try:
        with _encoders(wanted) as encode:
            for index, record, made, read_bytes in _encoded(wanted, journal, encode):
                maker.add(index, record, made)
                progress.file_bytes = read_bytes
                progress.num_skipped += isinstance(made, Skipped)
                if isinstance(made, Example):
                    progress.num_documents += 1
                    progress.num_tokens += made.num_tokens
                    progress.num_text_bytes += made.num_text_bytes
                on_progress(progress)
                if maker.is_full:
                    maker.finish(end=(index, record.number + 1))
        maker.finish(end=(len(wanted.files), 0))
    finally:
        maker.abandon()


def _progress_of(wanted: Build, journal: Journal) -> Progress:
    progress = Progress(file_bytes=sum(f.num_bytes for f in wanted.files[: journal.position.file]))
    for part in journal.parts:
        progress.num_documents += sum(shard["num_examples"] for shard in part["shards"].values())
        progress.num_skipped += sum(part["skipped"].values())
        progress.num_tokens += part["num_tokens"]
        progress.num_text_bytes += part["num_text_bytes"]
    return progress


class _PartMaker:
    """Collects what records gave until a shard's worth of text is there."""

    def __init__(self, wanted: Build, journal: Journal):
        self._wanted, self._journal = wanted, journal
        self._writers: dict[str, ShardWriter] = {}
        self._begin()

    def _begin(self) -> None:
        self._writers.clear()
        self._hashes = array.array("Q")
        self._part = Part(
            end=(0, 0),
            files={},
            num_records=0,
            shards={},
            num_text_bytes=0,
            num_tokens=0,
            skipped={},
            examples=[],
        )

    @property
    def is_full(self) -> bool:
        return self._part["num_text_bytes"] >= self._wanted.shard_bytes

    def add(self, index: int, record: Record, made: Example | Skipped) -> None:
        """Write what was made of a record of file `index`, or count why it was skipped."""
        file, part = self._wanted.files[index], self._part
        part["files"].setdefault(str(index), file.identity())
        part["num_records"] += 1
        if isinstance(made, Skipped):
            count = part["skipped"][made.reason] = part["skipped"].get(made.reason, 0) + 1
            if count <= NUM_EXAMPLES:
                part["examples"].append(
                    {"file": file.path, "record": record.number, **made._asdict()}
                )
            return
        if made.split not in self._writers:
            number = len(self._journal.parts)
            path = self._wanted.unfinished / f"part-{number:06d}-{made.split}"
            self._writers[made.split] = ShardWriter(path)
        self._writers[made.split].write(made.content)
        part["num_text_bytes"] += made.num_text_bytes
        part["num_tokens"] += made.num_tokens
        self._hashes.append(made.text_hash)

    def finish(self, *, end: tuple[int, int]) -> None:
        """Close the shards and note the part."""
        shards: dict[str, Shard] = {
            split: writer.close() for split, writer in sorted(self._writers.items())
        }
        self._part.update(shards=shards, end=end)
        note_hashes(self._wanted.unfinished, len(self._journal.parts), self._hashes)
        self._journal.add(self._part)
        self._begin()

    def abandon(self) -> None:
        """Close what is open and unfinished."""
        for writer in self._writers.values():
            writer.abandon()


# -- records ------------------------------------------------------------------------------------

_Chunk = tuple[int, list[Record], int]


def _chunks(wanted: Build, journal: Journal) -> Iterator[_Chunk]:
    """Yield (file, its next records, bytes of all files read so far)."""
    separator = None if wanted.separator is None else wanted.separator.encode()
    start, done_bytes = journal.position, 0
    for index, file in enumerate(wanted.files):
        if index >= start.file:
            first = start.record if index == start.file else 0
            with file.records(
                first=first,
                text_key=wanted.recipe.text_key,
                separator=separator,
                max_bytes=wanted.recipe.max_document_bytes,
            ) as (records, num_read):
                chunk, size = [], 0
                for record in records:
                    chunk.append(record)
                    size += len(record.content)
                    if len(chunk) == _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                        yield index, chunk, done_bytes + num_read()
                        chunk, size = [], 0
                if chunk:
                    yield index, chunk, done_bytes + num_read()
        done_bytes += file.num_bytes


_Encode = Callable[[str, Sequence[Record]], Callable[[], list[Example | Skipped]]]


@contextlib.contextmanager
def _encoders(wanted: Build) -> Iterator[_Encode]:
    """Yield what hands records to a worker, and returns what waits for the examples."""
    if not wanted.num_processes:
        encoder = Encoder(wanted.recipe)

        def encode(kind: str, records: Sequence[Record]) -> Callable[[], list[Example | Skipped]]:
            made = encoder.encode(kind, records)
            return lambda: made

        yield encode
        return
    with concurrent.futures.ProcessPoolExecutor(
        wanted.num_processes,
        # Not a fork: this process has threads of array_record.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(wanted.recipe,),
    ) as pool:
        try:
            yield lambda kind, records: pool.submit(encode_in_worker, kind, records).result
        finally:
            pool.shutdown(cancel_futures=True)


def _encoded(
    wanted: Build, journal: Journal, encode: _Encode
) -> Iterator[tuple[int, Record, Example | Skipped, int]]:
    """Yield every record with what it gave, in order, workers a few chunks ahead."""
    num_ahead = 3 * wanted.num_processes
    waiting: collections.deque[tuple[_Chunk, Callable[[], list[Example | Skipped]]]]
    waiting = collections.deque()

    def next_done() -> Iterator[tuple[int, Record, Example | Skipped, int]]:
        (index, records, read_bytes), result = waiting.popleft()
        for record, made in zip(records, result(), strict=True):
            yield index, record, made, read_bytes

    for chunk in _chunks(wanted, journal):
        waiting.append((chunk, encode(wanted.files[chunk[0]].kind, chunk[1])))
        if len(waiting) > num_ahead:
            yield from next_done()
    while waiting:
        yield from next_done()
