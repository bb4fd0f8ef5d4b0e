from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest

from axl_exp.run.files import RunFileError, read_json, write_json, write_text


def test_what_is_written_is_read_back_with_non_finite_floats_as_words(tmp_path: Path):
    path = tmp_path / "x.json"
    write_json(path, {"a": [math.nan, math.inf, 0.1], "b": {"c": -math.inf, "d": None}})
    assert read_json(path) == {"a": ["nan", "inf", 0.1], "b": {"c": "-inf", "d": None}}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_the_permissions_of_any_other(tmp_path: Path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    modes = [os.stat(tmp_path / name).st_mode for name in ("ours", "plain")]
    assert modes[0] == modes[1]


def test_a_missing_file_is_an_empty_object(tmp_path: Path):
    assert read_json(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"{", "is not JSON"), (b"[1]", "holds a list"), (b"\xff", "is not JSON"), (b"", "not JSON")],
)
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: bytes, told: str):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RunFileError, match=told) as error:
        read_json(path)
    assert str(path) in str(error.value)


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "x.txt"
    with pytest.raises(RunFileError, match=f"^cannot write {path}: No space left on device$"):
        write_text(path, "text")
    assert list(tmp_path.iterdir()) == []
