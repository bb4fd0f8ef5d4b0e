"""Long columns of numbers in as few bytes as hold them exactly.

What is printed has few digits, and neighbours are alike: `8.174` is 8174 / 10^3, beside 8169 / 10^3
it is 5 more. So a column is cut into pieces, each of integers over one power of ten, of which the
distance from the least, or from the one before, is kept in one to eight bytes (frame of reference,
delta coding: Lemire and Boytsov 2015, Software: Practice and Experience 45(1), 1-29). A piece that
does not come back to the bit is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PIECE = 1 << 16  # Rows: 512 KiB of float64, which stay in the cache while they are packed.
_MAX_DECIMALS = 9  # 10^22 is the last power of ten that is exact; clocks print six.
_MAX_CODE = 2.0**53
_SAMPLE = 16


class Packed:
    """A column of int64 or float64: appended to, and unpacked whole where it is used."""

    def __init__(self, values: np.ndarray | None = None, *, dtype: type = np.float64):
        """Begin with `values`, or empty."""
        self.dtype = np.dtype(dtype if values is None else values.dtype)
        self._pieces: list[_Piece | np.ndarray] = []
        self._open: list[np.ndarray] = []  # Not packed yet: fewer than PIECE rows.
        self._num_open = self._num_packed = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._num_packed + self._num_open

    def extend(self, values: np.ndarray) -> None:
        """Append values; what is kept of them is a copy."""
        if not np.can_cast(values.dtype, self.dtype):
            raise TypeError(f"a column of {self.dtype} takes no {values.dtype}")
        for start in range(0, len(values), PIECE):
            part = values[start : start + PIECE]
            self._open.append(part.astype(self.dtype))
            self._num_open += len(part)
            if self._num_open >= PIECE:
                self._pack()

    def _pack(self) -> None:
        values = np.concatenate(self._open)
        part, rest = values[:PIECE], values[PIECE:].copy()
        self._pieces.append(_pack_floats(part) if part.dtype.kind == "f" else _pack_ints(part))
        self._num_packed += PIECE
        self._open, self._num_open = [rest], len(rest)

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield the column in pieces of PIECE rows and a rest; none may be written to."""
        for piece in self._pieces:
            yield piece if isinstance(piece, np.ndarray) else piece.unpack(self.dtype)
        if self._num_open:
            yield np.concatenate(self._open)

    def unpack(self) -> np.ndarray:
        """Return the whole column, eight bytes a row."""
        found = np.empty(len(self), dtype=self.dtype)
        start = 0
        for piece in self.pieces():
            found[start : start + len(piece)] = piece
            start += len(piece)
        return found

    @property
    def num_bytes(self) -> int:
        """How much memory the values take."""
        return sum(
            piece.nbytes if isinstance(piece, np.ndarray) else piece.num_bytes
            for piece in (*self._pieces, *self._open)
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """Integers `first + cumsum(least + above)` or `first + above`, over a power of ten.

    Attributes:
        count: Rows.
        decimals: The power; None for integers that are not divided.
        first: The first value of differences, the least one of levels.
        least: The least difference; None where levels are kept.
        above: What each is above `least` or `first`; None where that is 0 everywhere.
    """

    count: int
    decimals: int | None
    first: int
    least: int | None
    above: np.ndarray | None

    def unpack(self, dtype: np.dtype) -> np.ndarray:
        above = 0 if self.above is None else self.above
        codes = np.full(self.count, self.first, dtype=np.int64)
        if self.least is None:
            codes += above
        else:
            steps = np.full(self.count - 1, self.least, dtype=np.int64)
            steps += above
            codes[1:] += np.cumsum(steps)
        return codes if self.decimals is None else (codes / 10.0**self.decimals).astype(dtype)

    @property
    def num_bytes(self) -> int:
        return 0 if self.above is None else self.above.nbytes


def _pack_floats(values: np.ndarray) -> _Piece | np.ndarray:
    """Return the values as integers over the least power of ten that gives them back to the bit."""
    decimals = _decimals(values[:: max(1, len(values) // _SAMPLE)], 0)
    while decimals is not None:
        codes = _codes(values, decimals)
        if codes is not None:
            return _pack_ints(codes, decimals=decimals)
        decimals = _decimals(values, decimals + 1)
    return values


def _decimals(values: np.ndarray, least: int) -> int | None:
    powers = range(least, _MAX_DECIMALS + 1)
    return next((power for power in powers if _codes(values, power) is not None), None)


def _codes(values: np.ndarray, decimals: int) -> np.ndarray | None:
    scale = 10.0**decimals
    with np.errstate(invalid="ignore", over="ignore"):
        codes = np.rint(values * scale)
        if not (np.abs(codes) <= _MAX_CODE).all():  # NaN is not.
            return None
    codes = codes.astype(np.int64)
    return codes if np.array_equal((codes / scale).view(np.int64), values.view(np.int64)) else None


def _pack_ints(codes: np.ndarray, *, decimals: int | None = None) -> _Piece:
    low = int(codes.min())
    level = _width(int(codes.max()) - low)
    if len(codes) > 1:
        steps = np.diff(codes)
        least = int(steps.min())
        width = _width(int(steps.max()) - least)
        if width < level:
            return _Piece(len(codes), decimals, int(codes[0]), least, _narrow(steps, least, width))
    return _Piece(len(codes), decimals, low, None, _narrow(codes, low, level))


def _width(span: int) -> int:
    """Return the bytes of the narrowest type for 0 to `span`."""
    return next((width for width in (0, 1, 2, 4) if span < 256**width), 8)


def _narrow(values: np.ndarray, least: int, width: int) -> np.ndarray | None:
    # Eight bytes stay signed: a difference that wraps around wraps back when it is added.
    dtype = np.int64 if width == 8 else f"u{width}"
    return (values - least).astype(dtype) if width else None
