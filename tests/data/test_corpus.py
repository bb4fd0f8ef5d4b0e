"""The embedded corpus: deterministic, named after its content, built once and whole."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
import tensorflow_datasets as tfds

from axl_exp.data import DataError, Input, corpus, use_embedded_corpus
from axl_exp.data.corpus import Document, data_home, documents, prepare_embedded_corpus


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """An empty cache, in which building is quick: what it writes does not matter there."""
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path))
    monkeypatch.setattr(corpus, "_build", lambda path, sha256: (path / "built").write_text(sha256))
    return tmp_path


def test_documents_are_unique_sorted_and_about_ten_megabytes():
    found = list(documents())
    names = [d.name for d in found]
    assert names == sorted(set(names))
    assert 3_000_000 < sum(len(d.text) for d in found) < 30_000_000
    assert {"json/decoder.py", "topics/assignment"} <= set(names)
    assert not [n for n in names if n.startswith(("test/", "encodings/", "pydoc_data/topics"))]
    assert not [n for n in names if "site-packages" in n]


def test_held_out_documents_are_a_small_share_chosen_by_name_alone():
    found = list(documents())
    held_out = [d for d in found if d.split == "validation"]
    assert 0.01 < len(held_out) / len(found) < 0.06
    # Another Python adds and changes documents, but moves none between the splits.
    assert {Document(d.name, "").split for d in held_out} == {"validation"}
    assert Document("json/decoder.py", "").split == "train"


def test_the_dataset_holds_every_document_once_in_disjoint_splits():
    path = prepare_embedded_corpus() / "python_text" / "1.0.0"
    splits: Any = tfds.builder_from_directory(path).as_data_source()
    read = {
        split: {record["name"].decode(): record["text"].decode() for record in records}
        for split, records in splits.items()
    }
    assert not read["train"].keys() & read["validation"].keys()
    assert read["train"] | read["validation"] == {d.name: d.text for d in documents()}


def test_the_fingerprint_does_not_depend_on_the_process():
    script = "from axl_exp.data.corpus import documents_sha256 as f; print(f())"
    other = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.getcwd()},
        check=True,
        capture_output=True,
        text=True,
    )
    assert other.stdout.strip() == corpus.documents_sha256()


def test_the_fingerprint_is_stored_with_the_dataset_and_reported_by_the_input():
    cfg = use_embedded_corpus(
        Input.default_config().set(max_sequence_length=8, global_batch_size=1, is_training=True)
    )
    fingerprint = cfg.instantiate().fingerprint()
    assert fingerprint["dataset"] == "python_text:1.0.0"
    assert fingerprint["fingerprint"] == corpus.documents_sha256()
    assert fingerprint["fingerprint_of"] == "documents"
    assert fingerprint["source"].startswith(str(data_home()))
    assert fingerprint["vocabulary_size"] == 8192


def test_another_text_is_another_directory(own_home, monkeypatch):
    first = prepare_embedded_corpus()
    monkeypatch.setattr(corpus, "documents_sha256", lambda: "0" * 64)
    second = prepare_embedded_corpus()
    assert first != second
    assert sorted(data_home().iterdir()) == sorted([first, second])


def test_it_is_built_once(own_home, monkeypatch):
    path = prepare_embedded_corpus()
    monkeypatch.setattr(corpus, "_build", None)
    assert prepare_embedded_corpus() == path


def test_a_failed_build_leaves_nothing_and_the_next_one_succeeds(own_home, monkeypatch):
    build = corpus._build

    def fail(path, sha256):
        build(path, sha256=sha256)
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "_build", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare_embedded_corpus()
    assert list(data_home().iterdir()) == []
    monkeypatch.setattr(corpus, "_build", build)
    assert (prepare_embedded_corpus() / "built").is_file()


def test_two_that_build_at_once_both_get_a_whole_corpus(own_home, monkeypatch):
    build, both_are_building = corpus._build, threading.Barrier(2, timeout=10)

    def build_together(path, sha256):
        both_are_building.wait()
        build(path, sha256=sha256)

    monkeypatch.setattr(corpus, "_build", build_together)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare_embedded_corpus())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert list(data_home().iterdir()) == [results[0]]
    assert (results[0] / "built").is_file()


def test_a_home_that_cannot_be_written_names_the_fix(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AXL_EXP_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError) as error:
        prepare_embedded_corpus()
    assert str(error.value) == (
        f"Cannot build the embedded corpus in {tmp_path}/file/data: Not a directory. "
        "Set AXL_EXP_HOME to a directory that can be written."
    )


def test_a_python_without_sources_is_an_error(monkeypatch):
    monkeypatch.setattr(corpus, "documents", lambda: iter([Document("a.py", "pass")]))
    corpus.documents_sha256.cache_clear()
    with pytest.raises(DataError, match="came without its sources. Use a full Python, or --data_"):
        corpus.documents_sha256()
    corpus.documents_sha256.cache_clear()
