"""NeMo's log: `Training epoch 0, iteration 7/99 | global_step: 7 | ...`, or Lightning's bar.

Its numbers have four digits, without zeros at their end. The loss of the last evaluation stands in
every record until the next one.
"""

from __future__ import annotations

import re
from dataclasses import replace

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import line_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.numbers import NUMBER
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "NeMo"
_GIB = 2.0**30
_RECORD = rb"\bTraining epoch \d+, iteration "
_GLOBAL_STEP = rb"(?:(?!Training epoch)[^\n]){0,600}?\bglobal_step: "
STEP = Dialect(
    format=FORMAT,
    anchor=re.compile(_RECORD + rb"\d+/\d+(?=" + _GLOBAL_STEP + rb"(?P<step>\d+))"),
    field=re.compile(
        rb"[ \t]*\|[ \t]*(?P<name>[A-Za-z][\w /().%-]{0,60}?):[ \t]*"
        rb"(?:(?P<value>" + NUMBER + rb")(?![\w.:-])|(?![ \t]*[-+.]?\d)[^|\n]{0,80})"
        rb"(?=[ \t]*(?:[|\n\[\"}<]|Training|$))"
    ),
    names={
        "reduced_train_loss": Name("train/loss"),
        "train_loss": Name("train/loss"),
        "loss": Name("lightning/running_mean_of_loss"),
        "lr": Name("train/learning_rate"),
        "grad_norm": Name("train/gradient_norm"),
        "consumed_samples": Name("train/consumed_samples"),
        "global_batch_size": Name("train/global_batch_size"),
        "train_step_timing in s": Name("printed/seconds"),
        "train_step_timing": Name("printed/seconds"),
        "TFLOPS_per_GPU": Name("perf/tflops_per_device"),
        "tokens_per_sec_per_gpu": Name("printed/tokens_per_second_per_device"),
        "max_memory_reserved": Name("perf/peak_memory_gib", _GIB),
        "peak_memory_usage": Name("perf/peak_memory_gib", _GIB),
        "max_memory_allocated": Name("perf/peak_memory_allocated_gib", _GIB),
        "memory_allocated": Name("perf/memory_gib", _GIB),
        "val_loss": Name("eval/validation/loss"),
        "val_ppl": Name("eval/validation/perplexity"),
    },
    prefix="nemo",
    needles=(b"Training epoch ",),
    clock=line_clock,
)
WITHOUT_GLOBAL_STEP = replace(
    STEP, anchor=re.compile(_RECORD + rb"(?P<step>\d+)/\d+(?!" + _GLOBAL_STEP + rb"\d)(?=[ \t]*\|)")
)


def _step_of_bar(anchor: re.Match[bytes]) -> int:
    """Return the step over all epochs; `global_step` in a bar has three digits only."""
    epoch, done, total = (int(anchor[group][:17]) for group in ("epoch", "done", "total"))
    return epoch * total + done


BAR = replace(
    STEP,
    anchor=re.compile(
        rb"\bEpoch (?P<epoch>\d+):[ :]*\d+%\|[^|\n]{0,400}\|[ \t]*(?P<done>\d+)/(?P<total>\d+)"
        rb"[ \t]*\[[^\],\n]{0,60}(?:,[ \t]*[^\]=,\n]{0,30})?(?=,[ \t]*\w)"
    ),
    field=re.compile(
        rb",[ \t]*(?P<name>[A-Za-z_][\w /().%-]{0,60}?)="
        rb"(?:(?P<value>" + NUMBER + rb")(?=[,\]])|[^,\]\n]{0,80})"
    ),
    needles=(b"%|",),
    step=_step_of_bar,
)


class NemoReader:
    """Reads a NeMo log block by block into a Log."""

    dialects = (STEP, WITHOUT_GLOBAL_STEP, BAR)
    heads = re.compile(rb"\[NeMo [IWE] \d{4}-")
    understood = re.compile(rb"Sanity [Cc]hecking")

    def __init__(self, log: Log):
        self._log, self._rows = log, RowsBuilder(is_padded=False)

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        self._log.has_ended |= b"`Trainer.fit` stopped: `max_steps=" in block.text
        spans = read_records(block, STEP, WITHOUT_GLOBAL_STEP, rows=self._rows)
        return [*spans, *read_records(block, BAR, rows=self._rows)]

    def finish(self) -> None:
        """Put the columns into the log."""
        self._log.rows = self._rows.finish()
