"""From the shards of all parts to a dataset in its place. Every step may be killed and repeated."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.splits import SplitDict

from axl_exp.build_dataset.encode import Recipe, features_of
from axl_exp.build_dataset.journal import Journal, Part, Shard

SKIPPED_NAME = "skipped.jsonl"
_SPLITS = ("train", "validation")
# Of each reason, so many skipped records are shown.
NUM_EXAMPLES = 20


def num_shards(part: Part) -> int:
    """Return the number of shards that a part filled."""
    return len(part["shards"])


def shards_of(parts: list[Part]) -> dict[str, list[Shard]]:
    """Return the shards of each split that has any, in order."""
    found = {s: [p["shards"][s] for p in parts if s in p["shards"]] for s in _SPLITS}
    return {split: shards for split, shards in found.items() if shards}


def paths_of(folder: Path, name: str, parts: list[Part]) -> Iterator[tuple[Path, Path, Shard]]:
    """Yield, for each shard, its path in the making, its path in the dataset, and what it has."""
    stem = _stem(name)
    for split, shards in shards_of(parts).items():
        for i, shard in enumerate(shards):
            final = f"{stem}-{split}.array_record-{i:05d}-of-{len(shards):05d}"
            yield folder / shard["name"], folder / final, shard


def finish(folder: Path, target: Path, name: str, recipe: Recipe, journal: Journal) -> None:
    """Name the shards as TFDS does, describe them, and move the folder to its place."""
    for path, final, _ in paths_of(folder, name, journal.parts):
        if path.exists():
            os.replace(path, final)
    _write_info(folder, name, recipe, journal.parts)
    _write_skipped(folder, journal.parts)
    os.replace(folder, target)


def _write_info(folder: Path, name: str, recipe: Recipe, parts: list[Part]) -> None:
    vocabulary = recipe.open_vocabulary()
    config, version = name.partition(":")[0].partition("/")[2], name.partition(":")[2]
    metadata = {"documents_sha256": _documents_sha256(parts)}
    if vocabulary is not None:
        metadata |= {
            "vocabulary": recipe.vocabulary,
            "vocabulary_sha256": vocabulary.sha256,
            "replace_newlines_with": recipe.replace_newlines_with,
        }
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name=_stem(name),
            version=tfds.core.Version(version),
            data_dir=str(folder),
            module_name=__name__,
            config_name=config or None,
        ),
        description="Built by python -m axl_exp.build_dataset; build.jsonl says from what.",
        features=features_of(vocabulary),
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(**metadata),
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    info.set_splits(
        SplitDict(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[shard["num_examples"] for shard in shards],
                num_bytes=sum(shard["num_bytes"] for shard in shards),
                filename_template=tfds.core.ShardedFileTemplate(
                    dataset_name=_stem(name),
                    data_dir=epath.Path(folder),
                    split=split,
                    filetype_suffix="array_record",
                ),
            )
            for split, shards in shards_of(parts).items()
        )
    )
    info.write_to_directory(folder)


def _write_skipped(folder: Path, parts: list[Part]) -> None:
    """Write the first records of each reason; nothing where none was skipped."""
    shown: dict[str, int] = {}
    lines = []
    for example in (example for part in parts for example in part["examples"]):
        shown[example["reason"]] = shown.get(example["reason"], 0) + 1
        if shown[example["reason"]] <= NUM_EXAMPLES:
            lines.append(json.dumps(example, ensure_ascii=False) + "\n")
    if lines:
        (folder / SKIPPED_NAME).write_text("".join(lines), encoding="utf-8")


def _documents_sha256(parts: list[Part]) -> str:
    digest = hashlib.sha256()
    for split, shards in shards_of(parts).items():
        digest.update(json.dumps([split, [shard["sha256"] for shard in shards]]).encode())
    return digest.hexdigest()


def _stem(name: str) -> str:
    return name.partition(":")[0].partition("/")[0]
