"""Input files of every kind, with known documents and known mistakes in them."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from axl_exp.build_dataset.building import Build, build
from axl_exp.build_dataset.encode import Recipe
from axl_exp.build_dataset.files import find_files

_WORDS = "the quick brown fox jumps over a lazy dog and runs far away from café 東京\n"


def make_texts(count: int, *, seed: int) -> list[str]:
    """Different texts of 1 to 60 words."""
    rng = random.Random(seed)
    return [
        f"{i} {' '.join(rng.choices(_WORDS.split(' '), k=rng.randrange(1, 60)))}"
        for i in range(count)
    ]


TEXTS = make_texts(150, seed=1)
_IN_JSONL, _IN_PARQUET, _IN_TEXT = TEXTS[:60], TEXTS[60:110], TEXTS[110:]

# (line, reason) of what is no document.
BAD_LINES = [
    (b'{"text": 3}', "not text"),
    (b'{"text": "unfinished', "not JSON"),
    (b'{"text": "\xff\xfe"}', "not UTF-8"),
    (b'{"text": "\\ud800"}', "not UTF-8"),
    (b'{"body": "other"}', "missing field"),
    (b'{"text": null}', "missing field"),
    (b'["text"]', "missing field"),
    (b"", "empty"),
    (b'{"text": " \\n"}', "empty"),
    (b'{"text": "' + b"x" * 5000 + b'"}', "too long"),
]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """a.jsonl.zst, b.jsonl.gz, c.parquet, d.txt (with --- between): TEXTS, in order."""
    path = tmp_path_factory.mktemp("inputs")
    lines = [json.dumps({"id": i, "text": text}).encode() for i, text in enumerate(_IN_JSONL)]
    with_bad = [*lines[:30]]
    for line, _ in BAD_LINES:
        with_bad.insert(len(with_bad) // 2, line)
    (path / "a.jsonl.zst").write_bytes(
        pa.compress(b"\n".join(with_bad) + b"\n", codec="zstd", asbytes=True)
    )
    (path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[30:])))
    table = pa.table({"id": range(52), "text": [*_IN_PARQUET, None, ""]})
    pq.write_table(table, path / "c.parquet", row_group_size=20)
    (path / "d.txt").write_text("\n---\n".join(_IN_TEXT), encoding="utf-8")
    return path


def wanted_build(inputs: Path, data_dir: Path, **kwargs) -> Build:
    """A build of all inputs, in many small shards."""
    recipe = {
        "text_key": "text",
        "max_document_bytes": 4000,
        "validation_share": 0.2,
        "replace_newlines_with": None,
        "vocabulary": None,
        "vocabulary_dir": None,
    }
    recipe.update((key, kwargs.pop(key)) for key in list(kwargs) if key in recipe)
    fields = {
        "name": "mine:1.0.0",
        "data_dir": data_dir,
        "files": find_files([str(inputs / "*.*")]),
        "recipe": Recipe(**recipe),
        "separator": "\n---\n",
        "shard_bytes": 3000,
        "num_processes": 0,
    }
    return Build(**{**fields, **kwargs})


def run_build(wanted: Build):
    return build(wanted, on_progress=lambda progress: None, say=lambda text: None)


def texts_in(path: Path, split: str) -> list[str]:
    """The documents as TFDS itself reads them."""
    source = tfds.builder_from_directory(path).as_data_source(split)  # pyright: ignore
    return [record["text"].decode() for record in source]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
