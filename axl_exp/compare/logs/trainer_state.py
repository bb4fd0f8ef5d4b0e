"""Hugging Face Trainer's `trainer_state.json`: its log, each record with its step.

It is read as the log that it would have printed, so both have the same names and the same mending
of losses that are NaN.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from axl_exp.compare.logs.hugging_face import FORMAT
from axl_exp.compare.logs.log import Log, LogError
from axl_exp.compare.logs.read import parse_log

NAME = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(?P<step>\d{1,15})")
_SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps")
_RESULTS = ("global_step", "total_flos", "best_metric")
_MAX_BYTES = 1 << 30


def trainer_state_in(directory: Path) -> Path | None:
    """Return the state in a directory, or else that of its newest checkpoint; None for none."""
    checkpoints = [
        (int(match["step"]), path / NAME)
        for path in directory.glob("checkpoint-*")
        if (match := _CHECKPOINT.fullmatch(path.name)) and (path / NAME).is_file()
    ]
    if (directory / NAME).is_file():
        return directory / NAME
    return max(checkpoints)[1] if checkpoints else None


def is_trainer_state(path: Path) -> bool:
    """Return whether the file is a trainer's state, by its name or by what it begins with."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    is_object = head.lstrip()[:1] == b"{"
    return is_object and (path.name == NAME or b'"best_model_checkpoint"' in head)


def read_trainer_state(path: Path) -> Log:
    """Return the history of a state as a log.

    Raises:
        LogError: It cannot be read, is no JSON or holds no record.
    """
    try:
        state = json.loads(path.read_bytes()[:_MAX_BYTES])
    except (OSError, ValueError, RecursionError) as error:
        raise LogError(f"cannot read {path}: {error}") from error
    history = state.get("log_history") if isinstance(state, dict) else None
    records = [_numbers(record) for record in history or [] if isinstance(record, dict)]
    lines = [_line(record) for record in records if record]
    if not lines:
        raise LogError(f"{path} holds no record: its log_history is empty or missing.")
    log = parse_log("".join(lines).encode(), path=path)
    log.format = FORMAT
    log.arguments = {key: str(state[key]) for key in _SETTINGS if key in state}
    log.results |= {key: state[key] for key in _RESULTS if state.get(key) is not None}
    step, max_step = state.get("global_step"), state.get("max_steps")
    if isinstance(step, int) and isinstance(max_step, int):
        log.has_ended |= step >= max_step > 0
    return log


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _line(record: dict[str, float]) -> str:
    """Return a record as the trainer prints it, the loss first."""
    first = [key for key in ("loss", "train_runtime") if key in record]
    rest = [key for key in record if key not in first]
    rest.sort(key=lambda key: not key.startswith("eval_"))
    told = ", ".join(f"'{key}': {_text(record[key])}" for key in [*first, *rest])
    return "{" + told + "}\n"


def _text(value: float) -> str:
    return repr(value) if math.isfinite(value) else str(float(value))
