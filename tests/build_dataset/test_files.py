"""Records of files, against Python's own splitting."""

import gzip
import io
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.build_dataset import files
from axl_exp.build_dataset.files import InputFile, find_files
from axl_exp.data import DataError


class _Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, so that every border is met."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


@settings(max_examples=300, deadline=None)
@given(
    content=st.text("ab-\n", max_size=40).map(str.encode),
    separator=st.sampled_from([b"\n", b"--", b"-\n-"]),
)
def test_records_are_what_stands_between_separators(content, separator):
    expected = content.split(separator)
    if not expected[-1]:
        expected.pop()
    found = list(files._split(_Trickle(content), separator, max_bytes=100))
    assert [record.content for record in found] == expected
    assert [record.number for record in found] == list(range(len(expected)))


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.text("abc", max_size=20).map(str.encode), min_size=1),
    separator=st.sampled_from([b"\n", b"--", b"-\n-"]),
)
def test_a_record_that_is_too_long_is_one_record_with_its_problem(parts, separator):
    found = list(files._split(_Trickle(separator.join(parts) + separator), separator, max_bytes=7))
    assert len(found) == len(parts)
    for record, part in zip(found, parts, strict=True):
        assert (record.problem is not None) == (len(part) > 7)
        assert part.startswith(record.content)


def _compress(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content)
    return pyarrow.compress(content, codec="zstd", asbytes=True) if suffix else content


def _records(path: Path, **kwargs) -> list[files.Record]:
    options = {"first": 0, "text_key": "text", "separator": None, "max_bytes": 10**6}
    with InputFile(str(path)).records(**{**options, **kwargs}) as (records, _):
        return list(records)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_every_compression_gives_the_same_records_from_any_number_on(tmp_path, suffix):
    content = b"".join(b'{"text": "%d"}\n' % i for i in range(100))
    path = tmp_path / f"a.jsonl{suffix}"
    # Two streams, one after the other, are one file for gzip and zstd.
    path.write_bytes(_compress(content[:300], suffix) + _compress(content[300:], suffix))
    expected = content.splitlines()
    assert [record.content for record in _records(path)] == expected
    later = _records(path, first=40)
    assert [record.content for record in later] == expected[40:]
    assert later[0].number == 40


@pytest.mark.parametrize("cut", [1, 1000])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_ends_early_is_named_with_the_place(tmp_path, suffix, cut):
    content = b"".join(b"%d\n" % (i * i) for i in range(300_000))
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(_compress(content, suffix)[:-cut])
    with pytest.raises(
        DataError,
        match=r"is damaged (after record \d+|near its beginning) \(Trunc.*\)\. Replace it or leave",
    ):
        _records(path, separator=b"\n")


def test_a_broken_parquet_file_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1junk")
    with pytest.raises(DataError, match=r"a\.parquet is damaged"):
        _records(path)


def test_a_text_file_without_a_separator_is_one_document(tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes(b"# a\n\nb\n")
    assert [record.content for record in _records(path)] == [b"# a\n\nb\n"]


def test_files_are_found_once_and_sorted(tmp_path):
    for name in ("b.txt", "a.txt", "c.bin"):
        (tmp_path / name).touch()
    found = find_files([f"{tmp_path}/*.txt", f"{tmp_path}/a.txt"])
    assert [Path(file.path).name for file in found] == ["a.txt", "b.txt"]
    with pytest.raises(DataError, match=r"No file matches .*nothing"):
        find_files([f"{tmp_path}/nothing*"])
    with pytest.raises(DataError, match=r"c\.bin: its name does not say what is in it\. Known are"):
        find_files([f"{tmp_path}/c.bin"])
