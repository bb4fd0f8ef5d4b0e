"""AXLearn's log: `process 0 step 100] loss=... aux=...`, and its average step times."""

from __future__ import annotations

import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import absl_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.numbers import NUMBER
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "AXLearn"
# Values are printed as numbers, arrays of one number, or summaries that hold one.
_VALUE = (
    rb"(?:Array\(|array\(|WeightedScalar\(mean=(?:Array\(|array\()?)?(?P<value>" + NUMBER + rb")"
)
STEP = Dialect(
    format=FORMAT,
    anchor=re.compile(rb"process\s+\d+\s+step\s+(?P<step>\d+)\]\s+(?=loss\s*=|Average step time:)"),
    field=re.compile(
        rb"(?:[ \t,{]|\}(?![\w/])){0,6}(?:aux=\{\s*)?'?"
        rb"(?P<name>Average step time|[A-Za-z][\w/.-]{0,80})'?\s*[=:]\s*(?:"
        + _VALUE
        + rb"(?:, dtype=[\w.]+)?(?:, weak_type=\w+)?(?:\)?, weight=[^,)]{0,60}(?:, dtype=\w+)?)?\)*"
        # A part of its own, an array of which it prints the shape, or nothing.
        rb"|(?=\{)|'[^'\n]{0,200}'|None|True|False)"
    ),
    names={
        "loss": Name("train/loss"),
        "Average step time": Name("printed/seconds"),
        "gradient_norm": Name("train/gradient_norm"),
        "learning_rate": Name("train/learning_rate"),
        "train_live_targets": Name("train/num_targets"),
        "perplexity": Name("train/perplexity"),
    },
    prefix="axlearn",
    needles=(b"step",),
    clock=absl_clock,
)
_PROCESS = re.compile(rb"process\s+(?P<n>\d{1,18})\s+step\s+\d+\]")


class AxlearnReader:
    """Reads an AXLearn log block by block into a Log."""

    dialects = (STEP,)
    heads = re.compile(rb"process\s+\d+\s+step\s+-?\d+\]")
    understood = re.compile(rb"Average step time|process\s+\d+\s+step")

    def __init__(self, log: Log):
        self._log = log
        self._rows = RowsBuilder(is_padded=False)
        self._processes: set[int] = set()

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        spans = read_records(block, STEP, rows=self._rows)
        self._processes.update(int(match["n"]) for match in _PROCESS.finditer(block.text))
        self._log.has_ended |= b"Reached max_step=" in block.text
        return spans

    def finish(self) -> None:
        """Put the columns into the log."""
        log = self._log
        log.rows = self._rows.finish()
        if len(self._processes) == 1:
            log.facts["process_index"] = min(self._processes)
        steps = log.rows.steps
        if len(steps) and ((steps <= 5) | (steps % 100 == 0)).all():
            log.notes.append(
                "it prints the loss of steps 0-5 and of every 100th, and mean step times"
            )
