"""From documents to batches of rows, on Grain.

A document of L tokens gives L + 1 pairs of input and target: the inputs are the end-of-sentence id
and the tokens, the targets are the tokens and the end-of-sentence id. Pairs are concatenated and
cut into rows, so that every token is a target once, no overlap between rows is needed, and a
document goes on in the next row where a row ends. (An evaluation may instead cut each document into
windows: see `windows.py`.)
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import grain
import numpy as np

from axl_exp.data.rows import PackedRows
from axl_exp.data.source import TextDocument, TokenDocument
from axl_exp.data.windows import Windows

# Documents that each reading thread may be ahead.
_NUM_READ_AHEAD = 8


class Vocabulary(Protocol):
    """What `tokenize` needs of a vocabulary."""

    eos_id: int
    num_bytes: np.ndarray

    def encode(self, text: str) -> Sequence[int]: ...


@dataclasses.dataclass(frozen=True)
class Share:
    """What one process reads of each global batch: some of its rows of `max_sequence_length`."""

    max_sequence_length: int
    global_batch_size: int
    rows: tuple[int, ...]


def tokenize(
    document: TextDocument | TokenDocument, *, vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """Return {"pairs": int32 [L + 1, 3]}: input id, target id, UTF-8 bytes of the target.

    The end-of-sentence target counts 0 bytes. With a vocabulary that normalizes text, or with
    replaced newlines, it counts what was added or lost, so that the bytes of a document always add
    up to those in the dataset, and bits per byte can be compared between vocabularies.
    """
    is_done = isinstance(document, TokenDocument)
    ids = document.ids if is_done else vocabulary.encode(document.text)
    pairs = np.empty((len(ids) + 1, 3), np.int32)
    pairs[0, 0] = pairs[-1, 1] = vocabulary.eos_id
    pairs[1:, 0] = pairs[:-1, 1] = ids
    pairs[:-1, 2] = vocabulary.num_bytes[pairs[:-1, 1]]
    pairs[-1, 2] = document.num_bytes - pairs[:-1, 2].sum()
    return {"pairs": pairs}


def training_batches(
    mixed: Sequence[tuple[grain.MapDataset, float]],
    share: Share,
    *,
    seed: int,
    shuffle: bool,
    num_read_threads: int,
) -> grain.IterDataset:
    """Return this process's rows of an endless stream of batches of tokenized documents.

    Each epoch has every document once, in a new order if `shuffle`, and the next one follows
    without a gap. The documents of that one global order are dealt to the rows of the batch in
    turn, and each row packs its own, see `rows.py`.

    Args:
        mixed: Tokenized documents with a weight. Of several, each is packed by itself, and has its
            share of the rows: which row is whose follows from the weights alone.
    """
    ordered = [
        ((tokens.shuffle(seed=seed) if shuffle else tokens).repeat(), weight)
        for tokens, weight in mixed
    ]
    rows = PackedRows(
        ordered,
        rows=share.rows,
        global_batch_size=share.global_batch_size,
        max_sequence_length=share.max_sequence_length,
        num_read_threads=num_read_threads,
    )
    return rows.map(_split_pairs)


def evaluation_batches(
    tokens: grain.MapDataset,
    share: Share,
    *,
    stride_tokens: int | None,
    num_batches: int | None,
    num_read_threads: int,
) -> grain.IterDataset:
    """Return this process's rows of one pass over the documents, in order; the last is padded.

    Every process makes the rows of the whole text and keeps its own of each global batch: all see
    the same number of batches, and the same text is evaluated whatever the number of processes.

    Args:
        stride_tokens: None packs the documents; a number cuts each into windows so far apart.
    """
    global_batch_size = share.global_batch_size
    if stride_tokens is None:
        rows = _pack(tokens, share, num_read_threads)
    else:
        windows = Windows(max_sequence_length=share.max_sequence_length, stride=stride_tokens)
        rows = grain.experimental.FlatMapIterDataset(_read(tokens, num_read_threads), windows)
    batches = rows.batch(
        global_batch_size,
        batch_fn=functools.partial(grain.experimental.batch_and_pad, batch_size=global_batch_size),
    )
    if num_batches is not None:
        batches = grain.experimental.LimitIterDataset(batches, num_batches)
    own = list(share.rows)
    return batches.map(lambda batch: _split_pairs({k: v[own] for k, v in batch.items()}))


def _read(tokens: grain.MapDataset, num_read_threads: int) -> grain.IterDataset:
    return tokens.to_iter_dataset(
        grain.ReadOptions(
            num_threads=num_read_threads, prefetch_buffer_size=_NUM_READ_AHEAD * num_read_threads
        )
    )


def _pack(tokens: grain.MapDataset, share: Share, num_read_threads: int) -> grain.IterDataset:
    """Return the rows of tokenized documents, in their order."""
    return grain.experimental.ConcatThenSplitIterDataset(
        _read(tokens, num_read_threads), length_struct={"pairs": share.max_sequence_length}
    )


def _split_pairs(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a trainer's batch from packed pairs [B, S, 3]."""
    inputs, targets, target_bytes = np.moveaxis(batch["pairs"], -1, 0)
    return {
        "inputs": np.ascontiguousarray(inputs),
        "targets": np.ascontiguousarray(targets),
        "target_bytes": np.ascontiguousarray(target_bytes),
        "segment_ids": np.ascontiguousarray(batch["pairs_segment_ids"]),
        "positions": np.ascontiguousarray(batch["pairs_positions"]),
    }
