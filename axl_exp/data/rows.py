"""Rows of training: each row of the global batch is a stream of documents of its own.

Row b of B packs the documents b, b + B, b + 2B, ... of one global order, and goes on in the next
batch where it was cut. So a row depends on no other: processes that share a batch never wait for
each other, and what is trained on does not depend on how many they are. A position is that of every
row, which whoever reads the row later can go to.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np

# The golden ratio's fractional part: its multiples spread over 0...1 as evenly as any number's.
_GOLDEN = (5**0.5 - 1) / 2
# From documents and an index to what waits for that document.
_Reader = Callable[[grain.MapDataset, int], Callable[[], Any]]


class PackedRows(grain.IterDataset):
    """Endless batches of rows packed from documents of pairs; Grain's keys of packed features.

    An element has `pairs` [R, S, 3], and `pairs_segment_ids` and `pairs_positions` [R, S], all
    int32, for R rows of the batch: no padding, segments count from 1 in each row, positions from 0
    in each segment.
    """

    def __init__(
        self,
        mixed: Sequence[tuple[grain.MapDataset, float]],
        *,
        rows: Sequence[int],
        global_batch_size: int,
        max_sequence_length: int,
        num_read_threads: int,
    ):
        """Args:
        mixed: Endless documents, `{"pairs": [L, 3]}`, with a weight. Of several, a row of a batch
            has text of one, see `source_of_row`.
        rows: Which of the 0 ... global_batch_size - 1 are wanted.
        num_read_threads: Threads that read documents ahead; 0 reads each when it is needed.
        """
        super().__init__()
        self._mixed = mixed
        self._rows = rows
        self._global_batch_size = global_batch_size
        self._width = max_sequence_length
        self._num_read_threads = num_read_threads

    def __iter__(self) -> grain.DatasetIterator:
        return _PackedRowsIterator(
            self._mixed,
            rows=self._rows,
            global_batch_size=self._global_batch_size,
            width=self._width,
            num_threads=self._num_read_threads,
        )


def source_of_row(batch: int, row: int, *, global_batch_size: int, weights: Sequence[float]) -> int:
    """Return which source a row of a batch has text of; it follows from the weights alone.

    Within a batch, and for one row over the batches, each source has its share to within a row or
    two: the points row / B + batch · golden ratio (mod 1) are spread evenly both ways, and a source
    takes those in its part of 0...1.
    """
    point = ((row + 0.5) / global_batch_size + batch * _GOLDEN) % 1
    edges = np.cumsum(weights) / np.sum(weights)
    return min(int(np.searchsorted(edges, point, side="right")), len(weights) - 1)


class _PackedRowsIterator(grain.DatasetIterator):
    """State: the number of batches made, and (document, offset) in each source, by row."""

    def __init__(
        self,
        mixed: Sequence[tuple[grain.MapDataset, float]],
        *,
        rows: Sequence[int],
        global_batch_size: int,
        width: int,
        num_threads: int,
    ):
        super().__init__()
        self._weights = [weight for _, weight in mixed]
        self._rows = rows
        self._global_batch_size = global_batch_size
        self._width = width
        self._num_batches = 0
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads) if num_threads else None
        self._streams = [
            [
                _Stream(documents, first=row, step=global_batch_size, read=self._read)
                for documents, _ in mixed
            ]
            for row in rows
        ]

    def _read(self, documents: grain.MapDataset, index: int) -> Callable[[], Any]:
        if self._pool is None:
            return lambda: documents[index]
        return self._pool.submit(documents.__getitem__, index).result

    def __next__(self) -> dict[str, np.ndarray]:
        taken = [
            streams[self._source_of(row)].take(self._width)
            for row, streams in zip(self._rows, self._streams, strict=True)
        ]
        self._num_batches += 1
        pairs, segment_ids, positions = (np.stack(part) for part in zip(*taken, strict=True))
        return {"pairs": pairs, "pairs_segment_ids": segment_ids, "pairs_positions": positions}

    def _source_of(self, row: int) -> int:
        if len(self._weights) == 1:
            return 0
        return source_of_row(
            self._num_batches,
            row,
            global_batch_size=self._global_batch_size,
            weights=self._weights,
        )

    def get_state(self) -> dict[str, Any]:
        # Keys that JSON gives back as they are.
        positions = {
            str(row): [stream.position for stream in streams]
            for row, streams in zip(self._rows, self._streams, strict=True)
        }
        return {"num_batches": self._num_batches, "rows": positions}

    def set_state(self, state: dict[str, Any]) -> None:
        self._num_batches = state["num_batches"]
        for row, streams in zip(self._rows, self._streams, strict=True):
            for stream, position in zip(streams, state["rows"][str(row)], strict=True):
                stream.go_to(*position)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class _Stream:
    """The documents `first`, `first + step`, ..., one after the other."""

    def __init__(self, documents: grain.MapDataset, *, first: int, step: int, read: _Reader):
        self._documents = documents
        self._first = first
        self._step = step
        self._read = read
        # Nothing is read before it is known where to begin.
        self._num_ahead = 1
        self.go_to(0, 0)

    @property
    def position(self) -> list[int]:
        """How many documents were used up, and how many pairs of the next one."""
        return [self._document, self._offset]

    def go_to(self, document: int, offset: int) -> None:
        """Go to what `position` was."""
        self._document, self._offset = document, offset
        self._ahead: collections.deque[Callable[[], Any]] = collections.deque()

    def take(self, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the next `width` pairs [S, 3], and their segments and positions [S]."""
        pieces, missing = [], width
        while missing:
            pairs = self._next_document()
            piece = pairs[self._offset : self._offset + missing]
            pieces.append(piece)
            missing -= len(piece)
            self._offset += len(piece)
            if self._offset == len(pairs):
                self._ahead.popleft()
                self._document, self._offset = self._document + 1, 0
        # As many as a row takes.
        self._num_ahead = len(pieces)
        lengths = [len(piece) for piece in pieces]
        starts = np.cumsum([0, *lengths[:-1]])
        segment_ids = np.repeat(np.arange(1, len(pieces) + 1, dtype=np.int32), lengths)
        positions = np.arange(width, dtype=np.int32) - np.repeat(starts, lengths).astype(np.int32)
        return np.concatenate(pieces), segment_ids, positions

    def _next_document(self) -> np.ndarray:
        while len(self._ahead) < 1 + self._num_ahead:
            number = self._document + len(self._ahead)
            self._ahead.append(self._read(self._documents, self._first + number * self._step))
        return self._ahead[0]()["pairs"]
