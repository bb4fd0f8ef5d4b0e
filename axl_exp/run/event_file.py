"""TensorBoard event files: scalars by step, without TensorFlow or protobuf.

A file is records of `length u64, crc u32, payload, crc u32`, little-endian (TensorFlow's
lib/io/record_writer.cc); a payload is an Event message, its fields numbered as in TensorFlow's
event.proto and summary.proto.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_SECONDS_BETWEEN_FLUSHES = 120.0
_FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
# Kinds of fields, as they stand in the last three bits of a key.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SESSION_START = 1


class EventWriter:
    """Writes the scalars of a run to a new event file in `directory`.

    Raises:
        OSError: From every method, where the disk does not take the file.
    """

    def __init__(self, directory: Path, *, first_step: int, max_queue: int):
        """Args:
        first_step: TensorBoard drops what earlier files of the directory have of it and later.
        max_queue: Events that wait in memory at most, and no longer than two minutes, before they
            are written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        # A second writer of this process and second goes on in the file of the first.
        self._file = open(directory / name, "ab", buffering=0)  # noqa: SIM115 (closed by close())
        self._max_queue = max_queue
        self._waiting: list[bytes] = []
        self._add(_field(3, _BYTES, b"brain.Event:2"))
        self._add(_step(first_step) + _field(7, _BYTES, _field(1, _VARINT, _SESSION_START)))
        self.flush()

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Write what float32 can say of `values`, as one event."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FIXED32, value))
            for tag, value in values.items()
            if abs(value) <= _FLOAT32_MAX
        )
        self._add(_step(step) + _field(5, _BYTES, summary))
        is_late = time.monotonic() > self._last_flush + _SECONDS_BETWEEN_FLUSHES
        if is_late or len(self._waiting) > self._max_queue:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        data, self._waiting = b"".join(self._waiting), []
        self._last_flush = time.monotonic()
        if self._file.write(data) != len(data):
            raise OSError(f"{self._file.name}: the disk took only a part")

    def close(self) -> None:
        """Write what waits and close the file; a second call does nothing."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def _add(self, event: bytes) -> None:
        payload = _field(1, _FIXED64, time.time()) + event
        length = struct.pack("<Q", len(payload))
        self._waiting.append(length + _masked_crc(length) + payload + _masked_crc(payload))


def _step(step: int) -> bytes:
    return _field(2, _VARINT, step)


def _field(number: int, kind: int, value: float | bytes) -> bytes:
    key = bytes([number << 3 | kind])
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if kind == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if kind == _FIXED64 else "<f", value)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _masked_crc(data: bytes) -> bytes:
    """Return the checksum of a record: CRC-32C, turned and moved as record_writer.cc does."""
    crc = _crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc32c(data: bytes) -> int:
    """Return the CRC with Castagnoli's polynomial (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


_CRC_OF_BYTE = [_crc_of(byte) for byte in range(256)]
