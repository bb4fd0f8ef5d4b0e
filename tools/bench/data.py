"""CPU seconds per million tokens of the input, from text and from tokens, packed and not.

CPU time of the whole process, all threads: what other processes do to the clock does not count, and
tokens per CPU second are tokens per second and core.
"""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from axl_exp.build_dataset.building import Build, build
from axl_exp.build_dataset.encode import Recipe
from axl_exp.build_dataset.files import find_files
from axl_exp.data import EMBEDDED_VOCABULARY, Input, prepare_embedded_corpus
from axl_exp.data.corpus import documents
from axl_exp.data.pipeline import tokenize
from tools.bench.measure import Report, measure_in_turns

_DOCUMENT_LETTERS = 2000
_ROW_TOKENS, _BATCH = 4096, 16
_NUM_TOKENS = 500_000


def measure_data(*, num_rounds: int) -> Report:
    """Return the CPU seconds per million tokens of four ways through the input."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        _build_datasets(data_dir)
        sides: dict[str, Callable[[], float]] = {}
        for name, text_key in (("tokens", "tokens"), ("text", "text")):
            opened = _open(data_dir, f"{name}:1.0.0", text_key)
            what = "pre-tokenized" if name == "tokens" else "tokenizing"
            sides[f"{what}, packed"] = functools.partial(_seconds_of, _packed, opened)
            sides[f"{what}, not packed"] = functools.partial(_seconds_of, _unpacked, opened)
        for side in sides.values():
            side()  # Files are opened and caches are filled.
        measured = measure_in_turns(sides, num_rounds=num_rounds)
    speeds = [
        f"{side.name}: {1 / statistics.median(side.seconds):.2f} M tokens/s per core"
        for side in measured
    ]
    return Report(
        title="The input: CPU seconds per million tokens",
        sides=measured,
        goal="pre-tokenized, packed: at least 0.5 M tokens/s per core, which is 2 s at most",
        notes=(
            f"documents of {_DOCUMENT_LETTERS} letters, shuffled; rows of {_ROW_TOKENS} tokens, "
            f"{_BATCH} in a batch; {EMBEDDED_VOCABULARY}",
            *speeds,
        ),
    )


def _build_datasets(data_dir: Path) -> None:
    file = data_dir / "documents.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for text in (document.text for document in documents()):
            for start in range(0, len(text), _DOCUMENT_LETTERS):
                piece = text[start : start + _DOCUMENT_LETTERS]
                lines.write(json.dumps({"text": piece}) + "\n")
    vocabulary_dir = str(prepare_embedded_corpus())
    for name, vocabulary in (("text", None), ("tokens", EMBEDDED_VOCABULARY)):
        recipe = Recipe(
            text_key="text",
            max_document_bytes=1 << 20,
            validation_share=0.0,
            replace_newlines_with=None,
            vocabulary=vocabulary,
            vocabulary_dir=vocabulary_dir,
        )
        wanted = Build(
            name=f"{name}:1.0.0",
            data_dir=data_dir,
            files=find_files([str(file)]),
            recipe=recipe,
            separator=None,
            shard_bytes=1 << 22,
            num_processes=0,
        )
        build(wanted, on_progress=lambda progress: None, say=lambda text: None)


def _open(data_dir: Path, name: str, text_key: str) -> Input:
    cfg: Any = Input.default_config().set(
        max_sequence_length=_ROW_TOKENS,
        global_batch_size=_BATCH,
        is_training=True,
        # What is made ahead and never read would count.
        num_prefetch_batches=0,
    )
    cfg.source.set(dataset_name=name, split="train", text_key=text_key)
    cfg.vocabulary.set(model_name=EMBEDDED_VOCABULARY)
    return cfg.instantiate(data_dir=data_dir)


def _packed(opened: Input) -> Iterator[int]:
    """Yield the tokens of each batch."""
    batches = opened.iterator()
    try:
        for batch in batches:
            yield batch["targets"].size
    finally:
        batches.close()  # Or its threads go on in the time of the next side.


def _unpacked(opened: Input) -> Iterator[int]:
    """Yield the tokens of each document, in an order as random as a shuffled one."""
    index, num_documents = 0, len(opened.source)
    while True:
        pairs = tokenize(opened.source[index], vocabulary=opened.vocabulary)["pairs"]
        index = (index + 7919) % num_documents  # A prime.
        yield len(pairs)


def _seconds_of(way: Callable[[Input], Iterator[int]], opened: Input) -> float:
    start, found = time.process_time(), 0
    with contextlib.closing(way(opened)) as tokens:  # pyright: ignore
        while found < _NUM_TOKENS:
            found += next(tokens)
    return (time.process_time() - start) / found * 1e6
