"""`python -m axl_exp.build_dataset mine:1.0.0 'texts/*.jsonl.gz' --data_dir=DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from axl_exp.cli import CommandParser, run_command

_DESCRIPTION = """\
Build a dataset of your own text, which launch reads with --data_dir and one override.

FILES are *.txt and *.md (a document each), *.jsonl and *.ndjson (a document per line), all also as
.gz or .zst, and *.parquet (a document per row). Documents are split into train and validation by a
hash of their text. A build that was stopped, killed, or ran out of disk goes on with the same
command, and comes to the same bytes.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = CommandParser(
        prog="python -m axl_exp.build_dataset",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="such as mine:1.0.0 or mine/small:1.0.0")
    parser.add_argument("files", metavar="FILES", nargs="+", help="paths or quoted globs")
    parser.add_argument("--data_dir", type=Path, required=True, help="where datasets lie")
    parser.add_argument(
        "--text_key", default="text", help="field or column of the text (%(default)s)"
    )
    parser.add_argument(
        "--separator", help=r"what stands between documents of a text file, such as '\n\n'"
    )
    parser.add_argument("--validation_share", type=float, default=0.01, help="0 to 1 (%(default)s)")
    parser.add_argument(
        "--vocabulary", help="store tokens of this *.model or *.json under DATA_DIR, not text"
    )
    parser.add_argument(
        "--replace_newlines_with", help="with --vocabulary: what newlines become, such as '<n>'"
    )
    parser.add_argument(
        "--shard_mib", type=int, default=256, help="MiB of text in a shard (%(default)s)"
    )
    parser.add_argument(
        "--max_document_mib", type=float, default=64, help="longer ones are skipped (%(default)s)"
    )
    parser.add_argument(
        "--num_processes", type=int, help="workers; default: one per core, 0 where text is kept"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags and build; returns the exit code."""
    parser = make_parser()
    flags = parser.parse_args(argv)
    if not 0 <= flags.validation_share < 1:
        parser.error(f"--validation_share={flags.validation_share} is not in 0 ... 1")
    if flags.shard_mib < 1 or flags.max_document_mib <= 0 or (flags.num_processes or 0) < 0:
        parser.error(
            "--shard_mib and --max_document_mib must be above 0, --num_processes 0 or more"
        )
    if flags.replace_newlines_with is not None and flags.vocabulary is None:
        parser.error(
            "--replace_newlines_with is for --vocabulary; text is kept as it is, and "
            "source.replace_newlines_with replaces them in training"
        )
    return run_command(lambda: _build(flags), debug=flags.debug)


def _build(flags: argparse.Namespace) -> int:
    # Below flag parsing, so that --help and a wrong flag cost nothing: this imports TFDS.
    from axl_exp.build_dataset.command import build_from_flags

    return build_from_flags(flags)


if __name__ == "__main__":
    sys.exit(main())
