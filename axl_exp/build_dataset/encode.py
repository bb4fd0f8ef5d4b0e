"""From a record of a file to the serialized example of a dataset, or to why there is none.

Runs in worker processes too: everything here is plain functions of bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from axl_exp.build_dataset.duplicates import text_hash
from axl_exp.build_dataset.files import Record
from axl_exp.data import Vocabulary

# Of a record that is skipped, so many letters are reported.
_NUM_SHOWN = 120
_HASHED = 1 << 32


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes documents of records. Two builds of one recipe and the same files are equal."""

    text_key: str
    max_document_bytes: int
    validation_share: float
    replace_newlines_with: str | None
    # Name of the vocabulary and the directory that has it; None keeps text.
    vocabulary: str | None
    vocabulary_dir: str | None

    def open_vocabulary(self) -> Vocabulary | None:
        """Return the vocabulary that makes tokens; None where text is kept."""
        if self.vocabulary is None:
            return None
        cfg = Vocabulary.default_config().set(model_name=self.vocabulary)
        return cfg.instantiate(data_dir=self.vocabulary_dir)


class Example(NamedTuple):
    """A document as the dataset has it."""

    split: str
    content: bytes
    """As TFDS serializes it."""

    num_text_bytes: int
    num_tokens: int
    text_hash: int


class Skipped(NamedTuple):
    """Why a record gave no document."""

    reason: str
    beginning: str


class Encoder:
    """Makes examples of records."""

    def __init__(self, recipe: Recipe):
        """Open the vocabulary, if there is one."""
        self._recipe = recipe
        self._vocabulary = recipe.open_vocabulary()
        self._features = features_of(self._vocabulary)
        self._dtype = None if self._vocabulary is None else token_dtype(self._vocabulary.size)

    def encode(self, kind: str, records: Sequence[Record]) -> list[Example | Skipped]:
        """Return what each record of a file of `kind` gives, in order."""
        found = [self._text_of(kind, record) for record in records]
        texts = [each for each in found if isinstance(each, str)]
        if self._vocabulary is None:
            made = iter([self._example(text, None) for text in texts])
        else:
            replaced = [self._with_newlines(text) for text in texts]
            ids = self._vocabulary.encode_batch(replaced)
            made = iter([self._example(*pair) for pair in zip(texts, ids, strict=True)])
        return [next(made) if isinstance(each, str) else each for each in found]

    def _text_of(self, kind: str, record: Record) -> str | Skipped:
        if record.problem is not None:
            return _skipped(record.problem, record.content)
        try:
            text = record.content.decode()
        except UnicodeDecodeError:
            return _skipped("not UTF-8", record.content)
        if kind == "jsonl":
            text = self._field(text)
            if isinstance(text, Skipped):
                return text
        if not text.strip():
            return _skipped("empty", record.content)
        try:
            num_bytes = len(text.encode())
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair.
            return _skipped("not UTF-8", record.content)
        if num_bytes > self._recipe.max_document_bytes:
            return _skipped("too long", record.content)
        return text

    def _field(self, line: str) -> str | Skipped:
        if not line.strip():
            return Skipped("empty", "")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return _skipped("not JSON", line.encode())
        if not isinstance(value, dict) or value.get(self._recipe.text_key) is None:
            return _skipped("missing field", line.encode(errors="replace"))
        text = value[self._recipe.text_key]
        return text if isinstance(text, str) else _skipped("not text", line.encode())

    def _with_newlines(self, text: str) -> str:
        newline = self._recipe.replace_newlines_with
        return text if newline is None else text.replace("\n", newline)

    def _example(self, text: str, ids: list[int] | None) -> Example:
        content = text.encode()
        example: dict[str, Any] = {"text": content}
        if ids is not None:
            example = {"tokens": np.array(ids, self._dtype), "num_bytes": len(content)}
        serialized = self._features.serialize_example(example)
        split = split_of(content, validation_share=self._recipe.validation_share)
        return Example(split, serialized, len(content), len(ids or ()), text_hash(content))


def split_of(content: bytes, *, validation_share: float) -> str:
    """Return `validation` or `train` by a hash of the text: the same text is never in both."""
    digest = hashlib.blake2b(content, digest_size=4).digest()
    is_held_out = int.from_bytes(digest) < validation_share * _HASHED
    return "validation" if is_held_out else "train"


def token_dtype(vocabulary_size: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every id."""
    return np.uint16 if vocabulary_size <= 1 << 16 else np.uint32


def features_of(vocabulary: Vocabulary | None) -> tfds.features.FeaturesDict:
    """Return what an example has: `text`; or `tokens` as raw bytes, and `num_bytes`."""
    if vocabulary is None:
        return tfds.features.FeaturesDict({"text": tfds.features.Text()})
    tokens = tfds.features.Tensor(
        shape=(None,), dtype=token_dtype(vocabulary.size), encoding="bytes"
    )
    return tfds.features.FeaturesDict(
        {"tokens": tokens, "num_bytes": tfds.features.Scalar(np.int64)}
    )


def _skipped(reason: str, content: bytes) -> Skipped:
    return Skipped(reason, content[: 4 * _NUM_SHOWN].decode(errors="replace")[:_NUM_SHOWN])


# One per worker process.
_encoder: Encoder | None = None


def start_worker(recipe: Recipe) -> None:
    """Make this process's encoder. Ctrl-C is for the process that started the workers."""
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _encoder = Encoder(recipe)


def encode_in_worker(kind: str, records: Sequence[Record]) -> list[Example | Skipped]:
    """Return what `Encoder.encode` returns, in a process that `start_worker` prepared."""
    assert _encoder is not None
    return _encoder.encode(kind, records)
