"""The command behind its flags: what to build, how far it is, and what to do with it then."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from axl_exp.build_dataset.building import Build, Built, Progress, build
from axl_exp.build_dataset.encode import Recipe
from axl_exp.build_dataset.files import find_files
from axl_exp.build_dataset.finish import SKIPPED_NAME, shards_of
from axl_exp.data import (
    EMBEDDED_VOCABULARY,
    DataError,
    prepare_embedded_corpus,
    vocabulary_path,
)
from axl_exp.report.bar import make_bar
from axl_exp.report.terminal import make_console, make_facts
from axl_exp.report.text import format_bytes, format_seconds, printable
from axl_exp.train.stop import stop_on_signals

_NAME = re.compile(r"[a-z][a-z0-9_]*(/[\w.-]+)?:\d+\.\d+\.\d+")
_MIB = 1 << 20
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_FRAMES = 0.1


def build_from_flags(flags: argparse.Namespace) -> int:
    """Build what the flags ask for and say what came of it; returns the exit code.

    Raises:
        DataError: Whatever is wrong with the name, the files, the vocabulary or the disk.
    """
    wanted = _wanted(flags)
    console = make_console()
    shown = _Shown(Console(quiet=True) if flags.json else console, wanted)
    started = time.perf_counter()

    def update(progress: Progress) -> None:
        stop.check()
        shown.update(progress)

    try:
        with stop_on_signals() as stop, shown:
            built = build(wanted, on_progress=update, say=shown.say)
    except (KeyboardInterrupt, SystemExit):
        shown.say("Stopped. The same command goes on from the last whole shard.")
        raise
    outcome = _outcome(wanted, built)
    if flags.json:
        print(json.dumps(outcome, indent=2))
        return 0
    seconds = time.perf_counter() - started
    console.print(make_facts(_facts(outcome, seconds, shown.new_bytes)))
    _say_what_next(console, wanted, outcome)
    return 0


def _wanted(flags: argparse.Namespace) -> Build:
    if not _NAME.fullmatch(flags.name):
        raise DataError(
            f"{flags.name!r} is no name of a dataset: use name:1.0.0 or name/config:1.0.0, the "
            "name in lower case."
        )
    data_dir = flags.data_dir.expanduser()
    vocabulary_dir = None
    if flags.vocabulary is not None:
        is_there = vocabulary_path(data_dir, flags.vocabulary).is_file()
        is_embedded = flags.vocabulary == EMBEDDED_VOCABULARY and not is_there
        vocabulary_dir = str(prepare_embedded_corpus() if is_embedded else data_dir)
    num_processes = flags.num_processes
    if num_processes is None:
        # Without a vocabulary a worker would do less than it costs to hand it the text.
        num_processes = 0 if flags.vocabulary is None else os.cpu_count() or 1
    return Build(
        name=flags.name,
        data_dir=data_dir,
        files=find_files(flags.files),
        recipe=Recipe(
            text_key=flags.text_key,
            max_document_bytes=int(flags.max_document_mib * _MIB),
            validation_share=flags.validation_share,
            replace_newlines_with=flags.replace_newlines_with,
            vocabulary=flags.vocabulary,
            vocabulary_dir=vocabulary_dir,
        ),
        separator=_unescape(flags.separator),
        shard_bytes=flags.shard_mib * _MIB,
        num_processes=num_processes,
    )


def _unescape(text: str | None) -> str | None:
    if text == "":
        raise DataError("--separator is empty. Leave it out: then a file is a document.")
    return None if text is None else text.replace("\\n", "\n").replace("\\t", "\t")


class _Shown:
    """A bar on a terminal, elsewhere a line now and then."""

    def __init__(self, console: Console, wanted: Build):
        self._console = console
        self._total = sum(file.num_bytes for file in wanted.files)
        self._bar: Bar | None = None
        self._next = 0.0
        self._first_bytes: int | None = None
        self.new_bytes = 0

    def __enter__(self) -> _Shown:
        if self._console.is_terminal:
            self._bar = make_bar(
                self._console,
                TextColumn("{task.percentage:3.0f} %"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        self._next = time.perf_counter() + (0 if self._bar else _SECONDS_BETWEEN_LINES)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(printable(text))

    def update(self, progress: Progress) -> None:
        """Show how far it is, if it is time to."""
        if self._first_bytes is None:
            self._first_bytes = progress.num_text_bytes
        self.new_bytes = progress.num_text_bytes - self._first_bytes
        now = time.perf_counter()
        if now < self._next:
            return
        text = f"{progress.num_documents:,} documents, {progress.num_skipped:,} skipped"
        if self._bar is not None:
            self._next = now + _SECONDS_BETWEEN_FRAMES
            self._bar.update(self._task, completed=progress.file_bytes, description=text)
            return
        self._next = now + _SECONDS_BETWEEN_LINES
        share = progress.file_bytes / max(self._total, 1)
        self.say(f"{share:.0%} of {format_bytes(self._total)} read: {text}")


def _outcome(wanted: Build, built: Built) -> dict[str, Any]:
    parts = built.parts
    skipped: dict[str, int] = {}
    for part in parts:
        for reason, count in part["skipped"].items():
            skipped[reason] = skipped.get(reason, 0) + count
    splits = shards_of(parts)
    num_tokens = sum(part["num_tokens"] for part in parts)
    return {
        "dataset_name": wanted.name,
        "path": str(wanted.path),
        "num_records": sum(part["num_records"] for part in parts),
        "num_documents": {s: sum(x["num_examples"] for x in found) for s, found in splits.items()},
        "num_shards": {split: len(found) for split, found in splits.items()},
        "num_text_bytes": sum(part["num_text_bytes"] for part in parts),
        "num_tokens": num_tokens if wanted.recipe.vocabulary else None,
        "num_duplicates": built.num_duplicates,
        "skipped": dict(sorted(skipped.items(), key=lambda item: -item[1])),
    }


def _facts(outcome: dict[str, Any], seconds: float, new_bytes: int) -> list[tuple[str, str]]:
    documents = [
        f"{count:,} {split} ({outcome['num_shards'][split]} shards)"
        for split, count in outcome["num_documents"].items()
    ]
    facts = [
        ("dataset", outcome["dataset_name"]),
        ("in", outcome["path"]),
        ("documents", ", ".join(documents)),
        ("text", format_bytes(outcome["num_text_bytes"])),
    ]
    if outcome["num_tokens"] is not None:
        per_token = outcome["num_text_bytes"] / max(outcome["num_tokens"], 1)
        facts.append(("tokens", f"{outcome['num_tokens']:,} ({per_token:.2f} bytes each)"))
    skipped = [f"{count:,} {reason}" for reason, count in outcome["skipped"].items()]
    total = f"{sum(outcome['skipped'].values()):,} of {outcome['num_records']:,} records"
    facts.append(("skipped", f"{total}: {', '.join(skipped)}" if skipped else "nothing"))
    if outcome["num_duplicates"]:
        share = outcome["num_duplicates"] / sum(outcome["num_documents"].values())
        told = f"{outcome['num_duplicates']:,} documents ({share:.1%}) have the text of an earlier"
        facts.append(("duplicates", f"{told} one; kept"))
    speed = f"{format_bytes(new_bytes / max(seconds, 1e-9))} of text/s"
    facts.append(("time", f"{format_seconds(seconds)}, {speed}"))
    return facts


def _say_what_next(console: Console, wanted: Build, outcome: dict[str, Any]) -> None:
    if outcome["skipped"]:
        console.print(printable(f"What was skipped, the first few: {wanted.path / SKIPPED_NAME}"))
    missing = {"train", "validation"} - set(outcome["num_documents"])
    if "validation" in missing and wanted.recipe.validation_share:
        console.print("No document fell into validation: raise --validation_share.")
    source = "--config.input.source"
    flags = [f"{source}.dataset_name={wanted.name}"]
    if wanted.recipe.vocabulary is not None:
        flags.append(f"{source}.text_key=tokens")
        flags.append(f"--config.input.vocabulary.model_name={wanted.recipe.vocabulary}")
    console.print("Train on it (an evaler's source is set likewise):", style="bold")
    where = f"--data_dir={shlex.quote(str(wanted.data_dir))}"
    command = " ".join(["python -m axl_exp.launch --config=CONFIG", where, *flags])
    console.print(printable(f"  {command}"), soft_wrap=True)
