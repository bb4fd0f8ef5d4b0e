"""Evaluation on windows: every target is predicted from a long context, and counts once.

Packed rows cut a document where a row ends, so that the targets after the cut are predicted from
almost nothing. Here the rows of a document overlap: they begin `stride` tokens apart, the first
counts all of its targets, each later one its last `stride`, which have at least
max_sequence_length - stride tokens before them. It is the evaluation of AXLearn's language models,
whose stride is a quarter of the row.
"""

from collections.abc import Mapping

import grain
import numpy as np

# What stands for a target that does not count: no token of any vocabulary.
NO_TARGET = -1


class Windows(grain.experimental.FlatMapTransform):
    """From the pairs of one document, as `tokenize` gives them, to its rows."""

    # Nothing reads it: the number of rows follows from the document.
    max_fan_out = 1

    def __init__(self, *, max_sequence_length: int, stride: int):
        self._width = max_sequence_length
        self._stride = stride

    def flat_map(self, element: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return rows of `pairs` [S, 3] with their segments and positions, [S] each.

        A document that fits has one row, as it has if it is packed alone. In a later row, targets
        that an earlier one counted are NO_TARGET with 0 bytes; the inputs stay, as context.
        """
        pairs = element["pairs"]
        num_later = -(-max(len(pairs) - self._width, 0) // self._stride)
        return [self._window(pairs, k * self._stride) for k in range(num_later + 1)]

    def _window(self, pairs: np.ndarray, start: int) -> dict[str, np.ndarray]:
        found = pairs[start : start + self._width]
        window = np.zeros((self._width, 3), np.int32)
        window[: len(found)] = found
        if start:
            window[: self._width - self._stride, 1] = NO_TARGET
            window[: self._width - self._stride, 2] = 0
        index = np.arange(self._width, dtype=np.int32)
        is_text = index < len(found)
        return {
            "pairs": window,
            "pairs_segment_ids": is_text.astype(np.int32),
            "pairs_positions": np.where(is_text, index, 0),
        }
