"""Which rows of a batch this process reads, and how they lie on its devices."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding


class BatchLayout:
    """The layout of batches of one shape.

    Attributes:
        rows: Those of the global batch that this process's devices hold a part of, ascending. Of
            rows that the mesh splits or copies over several processes, each of them reads all.
    """

    def __init__(self, sharding: NamedSharding, *, shape: tuple[int, int]):
        """Args:
        shape: Rows and positions of the global batch; the sharding divides both.
        """
        self._sharding = sharding
        self._shape = shape
        slices = sharding.addressable_devices_indices_map(shape).values()
        blocks = {self._block(index) for index in slices if index is not None}
        self.rows = sorted({row for start, stop in blocks for row in range(start, stop)})
        self._place_of = {row: place for place, row in enumerate(self.rows)}

    def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Lay the arrays [rows, positions] of a batch on the devices; does not wait for the copy.

        Every process hands in its own rows; what returns is the global batch.
        """
        return {key: self._put(values) for key, values in batch.items()}

    def _put(self, values: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            start, stop = self._block(index)
            place = self._place_of[start]
            return values[place : place + stop - start, index[1]]

        return jax.make_array_from_callback(self._shape, self._sharding, part)

    def _block(self, index: Any) -> tuple[int, int]:
        start, stop, _ = index[0].indices(self._shape[0])
        return start, stop
