"""writers.json of a run: who set each leaf of config.txt, defaults left out."""

from __future__ import annotations

from collections.abc import Mapping

from axl_exp.config.provenance import DEFAULT, Write
from axl_exp.run.files import read_json, write_json
from axl_exp.run.layout import RunDir


def write_writers(run_dir: RunDir, writers: Mapping[str, Write]) -> None:
    """Write who set each leaf, as `recipe (experiments/fuji/recipe.py:41)`.

    Raises:
        RunFileError: The system does not take the file.
    """
    told = {path: write.told for path, write in sorted(writers.items()) if write.by != DEFAULT}
    write_json(run_dir.writers, told)


def read_writers(run_dir: RunDir) -> dict[str, str] | None:
    """Return what `write_writers` wrote, by path; None of a run that does not tell.

    Raises:
        RunFileError: The file is there and cannot be read, or is no JSON object.
    """
    if not run_dir.writers.exists():
        return None
    return {path: str(told) for path, told in read_json(run_dir.writers).items()}
