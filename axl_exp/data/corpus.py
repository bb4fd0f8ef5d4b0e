"""The embedded corpus: the text that ships with Python itself, as a local TFDS dataset.

It needs no download: the standard library's sources and the topics of `help()`, about 10 MB. On
first use it is written, with a vocabulary trained on it, into a data directory of the same layout
as a user's own, so that nothing else knows the difference:

    <data_home>/python_text-1.0.0-py3.11.7-<fingerprint>/
        python_text/1.0.0/                                   array_record shards of TFDS
        tokenizers/sentencepiece/python_text_8192.model
"""

import functools
import hashlib
import os
import platform
import shutil
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import tensorflow_datasets as tfds
from rich.console import Console

from axl_exp.data.errors import DataError
from axl_exp.data.sentencepiece_model import train_vocabulary
from axl_exp.data.vocabulary import vocabulary_path
from axl_exp.run.home import home

_NAME, _VERSION = "python_text", "1.0.0"

EMBEDDED_DATASET = f"{_NAME}:{_VERSION}"
EMBEDDED_VOCABULARY = f"{_NAME}_8192.model"
EMBEDDED_VOCABULARY_SIZE = 8192

# Left out: what is no part of the library, what distributions leave out or add, and tables of
# characters, which are a tenth of the bytes and nothing to learn a language from.
_SKIPPED_FOLDERS = frozenset(
    ["__pycache__", "dist-packages", "encodings", "idlelib", "site-packages", "test", "tests"]
)
# Data in a .py file (the topics come from it as documents), and a record of the machine that built
# this Python.
_SKIPPED_FILES = ("pydoc_data/topics.py", "_sysconfigdata")

# Per mille of the documents.
_HELD_OUT_SHARE = 25

_LEAST_NUM_BYTES = 1_000_000


class Document(NamedTuple):
    """One text of the corpus."""

    name: str
    """A path in the standard library, or `topics/<name>`."""

    text: str

    @property
    def split(self) -> str:
        """`validation` for about one document in forty, by a hash of its name; else `train`."""
        digest = hashlib.sha256(self.name.encode()).digest()
        held_out = int.from_bytes(digest[:8], "big") % 1000 < _HELD_OUT_SHARE
        return "validation" if held_out else "train"


def data_home() -> Path:
    """Return the directory that embedded data is cached in: `$AXL_EXP_HOME/data`."""
    return home() / "data"


def documents() -> Iterator[Document]:
    """Yield the documents of this Python, sorted by name; files that are not UTF-8 are left out."""
    yield from sorted([*_library_documents(), *_topic_documents()])


def _library_documents() -> Iterator[Document]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for folder, subfolders, files in os.walk(library):
        subfolders[:] = set(subfolders) - _SKIPPED_FOLDERS
        for file in files:
            path = Path(folder, file)
            name = path.relative_to(library).as_posix()
            if not name.endswith(".py") or name.startswith(_SKIPPED_FILES):
                continue
            try:
                text = path.read_bytes().decode()
            except UnicodeDecodeError:
                continue
            if text:
                yield Document(name, text)


def _topic_documents() -> Iterator[Document]:
    for name, text in topics.items():
        yield Document(f"topics/{name}", text)


@functools.cache
def documents_sha256() -> str:
    """Return the SHA-256 of all documents and their names: it differs between Python versions.

    Raises:
        DataError: This Python came without the sources of its library.
    """
    digest = hashlib.sha256()
    num_bytes = 0
    for document in documents():
        for part in (document.name.encode(), document.text.encode()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
            num_bytes += len(part)
    if num_bytes < _LEAST_NUM_BYTES:
        raise DataError(
            f"The embedded corpus is this Python's own library, but {sys.executable} came without "
            "its sources. Use a full Python, or --data_dir=<directory of a prepared TFDS dataset>."
        )
    return digest.hexdigest()


def prepare_embedded_corpus() -> Path:
    """Return the data directory of the embedded corpus, built first where it is not there yet.

    The directory is named after the content, so that another Python never reads this one's. It is
    built beside its place and renamed: a killed build leaves nothing that could be taken for a
    corpus, and of two processes that race, one wins and both read the same bytes.
    """
    sha256 = documents_sha256()
    name = f"{_NAME}-{_VERSION}-py{platform.python_version()}-{sha256[:12]}"
    data_dir = data_home() / name
    if data_dir.is_dir():
        return data_dir
    unfinished = data_home() / f".{name}-{uuid.uuid4().hex}"
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise DataError(
            f"Cannot build the embedded corpus in {data_home()}: {error.strerror}. "
            "Set AXL_EXP_HOME to a directory that can be written."
        ) from error
    try:
        _build(unfinished, sha256=sha256)
        try:
            unfinished.rename(data_dir)
        except OSError:
            if not data_dir.is_dir():  # Otherwise another process was first.
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return data_dir


def _build(data_dir: Path, *, sha256: str) -> None:
    """Write dataset and vocabulary into `data_dir`, saying so on a terminal."""
    console = Console(stderr=True)
    with console.status("Reading the text that ships with Python") as status:
        splits: dict[str, list[Document]] = {"train": [], "validation": []}
        for document in documents():
            splits[document.split].append(document)
        status.update("Writing the embedded corpus, once for this Python")
        _write_dataset(data_dir / _NAME / _VERSION, splits, sha256=sha256)
        status.update(f"Training its vocabulary of {EMBEDDED_VOCABULARY_SIZE} tokens (seconds)")
        model = train_vocabulary((d.text for d in splits["train"]), size=EMBEDDED_VOCABULARY_SIZE)
        path = Path(vocabulary_path(data_dir, EMBEDDED_VOCABULARY))
        path.parent.mkdir(parents=True)
        path.write_bytes(model)


def _write_dataset(path: Path, splits: dict[str, list[Document]], *, sha256: str) -> None:
    """Write one shard per split; TFDS needs no TensorFlow for array_record."""
    path.mkdir(parents=True)
    text = tfds.features.Text()
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name=_NAME,
            version=tfds.core.Version(_VERSION),
            data_dir=str(path),
            module_name=__name__,
        ),
        description="The text that ships with Python: the library's sources and help() topics.",
        features=tfds.features.FeaturesDict({"name": text, "text": text}),
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(documents_sha256=sha256),
    )
    writer = tfds.core.SequentialWriter(
        info, max_examples_per_shard=sys.maxsize, file_format="array_record"
    )
    writer.initialize_splits(list(splits))
    writer.add_examples(
        {name: [document._asdict() for document in found] for name, found in splits.items()}
    )
    writer.close_all()
