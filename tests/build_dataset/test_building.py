"""Builds: every document once, whatever stops them, and the same bytes in the end."""

import collections
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from axl_exp.build_dataset import shards
from axl_exp.build_dataset.building import build
from axl_exp.build_dataset.files import InputFile, find_files
from axl_exp.data import (
    EMBEDDED_VOCABULARY,
    DataError,
    Input,
    Vocabulary,
    prepare_embedded_corpus,
)
from tests.build_dataset.conftest import (
    BAD_LINES,
    TEXTS,
    contents,
    run_build,
    texts_in,
    wanted_build,
)


@pytest.fixture(scope="module")
def built(inputs, tmp_path_factory) -> Path:
    """A dataset that was built without an interruption."""
    wanted = wanted_build(inputs, tmp_path_factory.mktemp("built"))
    run_build(wanted)
    return wanted.path


def test_every_document_of_every_format_is_there_once_and_in_order(built):
    found = {split: texts_in(built, split) for split in ("train", "validation")}
    assert sorted([*found["train"], *found["validation"]]) == sorted(TEXTS)
    for texts in found.values():
        assert texts == [text for text in TEXTS if text in set(texts)]
    assert len(found["validation"]) > 10


def test_shards_are_named_and_counted_as_tfds_does(built):
    builder = tfds.builder_from_directory(built)
    train = builder.info.splits["train"]
    assert len(train.filenames) > 3
    assert {path.name for path in built.glob("*-train.*")} == set(train.filenames)
    assert train.num_examples == len(texts_in(built, "train"))


def test_what_is_skipped_is_counted_by_reason_with_examples(inputs, tmp_path):
    parts = run_build(wanted_build(inputs, tmp_path)).parts
    skipped = sum((collections.Counter(part["skipped"]) for part in parts), collections.Counter())
    expected = collections.Counter(reason for _, reason in BAD_LINES)
    assert skipped == expected + collections.Counter(["missing field", "empty"])  # In the parquet.
    assert sum(part["num_records"] for part in parts) == len(TEXTS) + skipped.total()
    lines = (tmp_path / "mine" / "1.0.0" / "skipped.jsonl").read_text().splitlines()
    shown = [json.loads(line) for line in lines]
    assert collections.Counter(each["reason"] for each in shown) == skipped
    bad = next(each for each in shown if each["reason"] == "not JSON")
    assert bad["file"].endswith("a.jsonl.zst")
    assert bad["beginning"] == '{"text": "unfinished'


@pytest.mark.parametrize("num_processes", [0, 2])
def test_documents_that_were_there_before_are_counted_over_parts_and_workers(
    inputs, tmp_path, num_processes
):
    again = tmp_path / "again.jsonl"
    repeated = [*TEXTS[::7], *TEXTS[:5], TEXTS[0] + " "]  # Another blank is another text.
    again.write_text("".join(json.dumps({"text": text}) + "\n" for text in repeated))
    files = [*find_files([str(inputs / "*.*")]), InputFile(str(again))]
    made = run_build(wanted_build(inputs, tmp_path, files=files, num_processes=num_processes))
    texts = [*TEXTS, *repeated]
    assert len(made.parts) > 3
    assert made.num_duplicates == len(texts) - len(set(texts)) == len(repeated) - 1


def test_the_split_of_a_document_follows_from_its_text_alone(inputs, built, tmp_path):
    wanted = wanted_build(inputs, tmp_path, files=[InputFile(str(inputs / "c.parquet"))])
    run_build(wanted)
    found = texts_in(wanted.path, "validation")
    assert found == [text for text in texts_in(built, "validation") if text in set(TEXTS[60:110])]
    for text in found:  # The rule, written again.
        digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
        assert int.from_bytes(digest, "big") / 2**32 < 0.2


class _Killed(BaseException):
    """What no code handles, as if the process were gone."""


def _count_calls(monkeypatch, *, kill_at: int | None) -> list[int]:
    """Die at the nth call of what touches the disk, before or after it was done."""
    calls = [0]

    def dying(function):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == kill_at:
                if calls[0] % 2:
                    function(*args, **kwargs)
                raise _Killed
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "replace", dying(os.replace))
    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    # A process that is gone cleans nothing up.
    monkeypatch.setattr(shards.ShardWriter, "abandon", lambda self: None)
    return calls


def test_a_build_that_dies_at_any_write_goes_on_to_the_same_bytes(inputs, built, tmp_path):
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls = _count_calls(monkeypatch, kill_at=None)
        run_build(wanted_build(inputs, tmp_path / "whole"))
    assert calls[0] > 50
    for kill_at in range(1, calls[0] + 1, 3):
        wanted = wanted_build(inputs, tmp_path / "killed")
        with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(_Killed):
            _count_calls(monkeypatch, kill_at=kill_at)
            run_build(wanted)
        if not wanted.path.exists():
            run_build(wanted)
        assert contents(wanted.path) == contents(built)
        assert [path.name for path in wanted.path.parent.iterdir()] == ["1.0.0"]
        shutil.rmtree(wanted.path)


def test_a_torn_line_of_the_journal_is_written_again(inputs, built, tmp_path):
    wanted = wanted_build(inputs, tmp_path)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(_Killed):
        _count_calls(monkeypatch, kill_at=23)
        run_build(wanted)
    journal = wanted.unfinished / "build.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    run_build(wanted)
    assert contents(wanted.path) == contents(built)


def test_finished_shards_are_not_made_again(inputs, tmp_path):
    wanted = wanted_build(inputs, tmp_path)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(_Killed):
        _count_calls(monkeypatch, kill_at=23)
        run_build(wanted)
    before = {path.name: path.stat().st_ino for path in wanted.unfinished.glob("part-*[!p]")}
    said = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        written = []
        write = shards.ShardWriter.write
        monkeypatch.setattr(
            shards.ShardWriter, "write", lambda *args: (written.append(1), write(*args))
        )
        build(wanted, on_progress=lambda progress: None, say=said.append)
    after = {path.stat().st_ino for path in wanted.path.iterdir()}
    assert len(set(before.values()) & after) >= 3
    assert 0 < len(written) < len(TEXTS)
    assert "shards are done." in said[0]


def test_workers_make_the_same_bytes(inputs, built, tmp_path):
    wanted = wanted_build(inputs, tmp_path, num_processes=2)
    run_build(wanted)
    assert contents(wanted.path) == contents(built)


def test_a_full_disk_keeps_what_is_done(inputs, built, tmp_path):
    wanted = wanted_build(inputs, tmp_path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        close, num_closed = shards.ShardWriter.close, [0]

        def full(self):
            num_closed[0] += 1
            if num_closed[0] == 6:
                raise OSError(errno.ENOSPC, "No space left on device")
            return close(self)

        monkeypatch.setattr(shards.ShardWriter, "close", full)
        with pytest.raises(DataError) as error:
            run_build(wanted)
    assert str(error.value) == (
        f"Cannot write {wanted.unfinished}: No space left on device. With room for it, the same "
        "command goes on where this one ended."
    )
    assert not list(wanted.unfinished.glob("*.tmp"))
    run_build(wanted)
    assert contents(wanted.path) == contents(built)


def _open_input(data_dir: Path, **source) -> Input:
    cfg = Input.default_config().set(max_sequence_length=64, global_batch_size=2, is_training=False)
    cfg.source.set(dataset_name="mine:1.0.0", split="validation", **source)
    cfg.vocabulary.set(model_name=EMBEDDED_VOCABULARY)
    return cfg.instantiate(data_dir=data_dir)


def test_tokens_of_a_built_dataset_are_trained_on_as_the_text_is(inputs, built, tmp_path):
    run_build(
        wanted_build(
            inputs,
            tmp_path,
            vocabulary=EMBEDDED_VOCABULARY,
            vocabulary_dir=str(prepare_embedded_corpus()),
        )
    )
    text = _open_input(built.parent.parent)
    tokens = _open_input(tmp_path, text_key="tokens")
    assert tokens.source.holds_tokens
    for a, b in zip(text.iterator(), tokens.iterator(), strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    assert text.fingerprint()["fingerprint_of"] == "documents"
    assert text.fingerprint()["fingerprint"] != tokens.fingerprint()["fingerprint"]


def test_tokens_of_another_vocabulary_or_other_newlines_are_refused(inputs, tmp_path):
    run_build(
        wanted_build(
            inputs,
            tmp_path,
            vocabulary=EMBEDDED_VOCABULARY,
            vocabulary_dir=str(prepare_embedded_corpus()),
            replace_newlines_with="<n>",
        )
    )
    with pytest.raises(DataError, match=r"with newlines replaced by '<n>', but source\.replace"):
        _open_input(tmp_path, text_key="tokens")
    own = tmp_path / "tokenizers" / "sentencepiece" / EMBEDDED_VOCABULARY
    own.parent.mkdir(parents=True)
    theirs = Vocabulary.default_config().set(model_name=EMBEDDED_VOCABULARY)
    path = theirs.instantiate(data_dir=prepare_embedded_corpus()).path
    own.write_bytes(path.read_bytes() + b"\x1a\x00")  # The same model, another file.
    with pytest.raises(DataError, match=r"was tokenized with another vocabulary than .*SHA-256"):
        _open_input(tmp_path, text_key="tokens", replace_newlines_with="<n>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"validation_share": 0.3},
            "has an unfinished build with other validation share: 0.2, not",
        ),
        ({"shard_bytes": 1}, "has an unfinished build with other shard bytes: 3000, not 1."),
    ],
)
def test_other_flags_do_not_go_on_with_an_unfinished_build(inputs, tmp_path, change, message):
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(_Killed):
        _count_calls(monkeypatch, kill_at=23)
        run_build(wanted_build(inputs, tmp_path))
    with pytest.raises(DataError, match=message):
        run_build(wanted_build(inputs, tmp_path, **change))


def test_a_file_that_changed_meanwhile_is_noticed(inputs, tmp_path):
    copy = tmp_path / "inputs"
    shutil.copytree(inputs, copy)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(_Killed):
        _count_calls(monkeypatch, kill_at=23)
        run_build(wanted_build(copy, tmp_path))
    os.utime(copy / "a.jsonl.zst")
    with pytest.raises(DataError, match=r"a\.jsonl\.zst has changed since it was read\. Delete"):
        run_build(wanted_build(copy, tmp_path))


def test_a_finished_dataset_is_not_built_over(inputs, built):
    with pytest.raises(DataError, match=r"1\.0\.0 is there already: delete it, or name another"):
        run_build(wanted_build(inputs, built.parent.parent))


def test_files_without_a_document_are_an_error_that_shows_the_first(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n')
    with pytest.raises(DataError) as error:
        run_build(wanted_build(tmp_path, tmp_path / "data"))
    assert str(error.value) == (
        "There is no document in the files. All records were skipped; the first is record 0 of "
        f'{tmp_path}/a.jsonl: missing field (\'{{"content": "x"}}\').'
    )
