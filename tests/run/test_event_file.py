"""Event files, against the protobuf messages and the checksum of tensorboardX."""

import struct

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore (made at run time)
from tensorboardX.record_writer import masked_crc32c

from axl_exp.run.event_file import EventWriter, _crc32c


def events_in(directory) -> list[Event]:
    """All events of a directory; every length and payload has its checksum."""
    found = []
    for path in sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            payload = data[12 : 12 + length]
            assert data[8:12] == struct.pack("<I", masked_crc32c(data[:8]))
            assert data[12 + length : 16 + length] == struct.pack("<I", masked_crc32c(payload))
            found.append(Event.FromString(payload))
            data = data[16 + length :]
    return found


def test_the_checksum_is_the_published_one():
    # RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and from 0 to 31.
    assert _crc32c(bytes(32)) == 0x8A9136AA
    assert _crc32c(b"\xff" * 32) == 0x62A8AB43
    assert _crc32c(bytes(range(32))) == 0x46DD794E
    assert _crc32c(bytes(range(256)) * 5) == crc32c(bytes(range(256)) * 5)


def test_a_file_begins_with_its_version_and_what_a_restart_makes_void(tmp_path):
    EventWriter(tmp_path, first_step=300, max_queue=10).close()
    version, start = events_in(tmp_path)
    assert version.file_version == "brain.Event:2" and version.wall_time > 1.7e9
    assert (start.step, start.session_log.status) == (300, SessionLog.START)


def test_scalars_are_read_back_as_float32_and_what_it_cannot_say_is_left_out(tmp_path):
    writer = EventWriter(tmp_path, first_step=1, max_queue=10)
    inf = float("inf")
    values = {"train/loss": 0.1, "größe": -3, "nan": float("nan"), "inf": inf, "far": 1e39}
    writer.scalars(values, step=2**40)
    writer.close()
    event = events_in(tmp_path)[-1]
    found = {value.tag: value.simple_value for value in event.summary.value}
    assert event.step == 2**40
    assert found == {"train/loss": pytest.approx(0.1, rel=1e-7), "größe": -3.0}


def test_events_wait_until_the_queue_is_full_or_two_minutes_old(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path, first_step=1, max_queue=2)
    for step, num_written in [(1, 2), (2, 2), (3, 5), (4, 5)]:
        writer.scalars({"a": 1.0}, step=step)
        assert len(events_in(tmp_path)) == num_written
    writer._last_flush -= 121
    writer.scalars({"a": 1.0}, step=5)
    assert len(events_in(tmp_path)) == 7
    writer.close()
    writer.close()
