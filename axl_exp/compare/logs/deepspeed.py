"""DeepSpeed's own log: `steps: 10 loss: 9.1 iter time (s): 0.5`, and `step=10, skipped=0, lr=[..]`.

Its records of one step are several: learning rates, speed and the loss stand on lines of their own.
"""

from __future__ import annotations

import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import line_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.numbers import NUMBER
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "DeepSpeed"
STEP = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?:(?<![\w-])steps:\s*(?=\d+\s+loss:)|(?<![\w-])step=(?=\d+,\s*skipped=)|"
        rb"(?<!\w)global_step=(?=\d+,\s*\w+SamplesPerSec)|\b\d+/(?=\d+,\s*\w*SamplesPerSec=))"
        rb"(?P<step>\d+)"
    ),
    field=re.compile(
        rb"[\s,|]{1,8}(?!steps?\b|global_step)(?P<name>[A-Za-z][\w/ ()]{0,40}?)\s*[:=]\s*\[?\(?"
        rb"(?P<value>"
        + NUMBER
        + rb")[ ]?(?P<unit>GB|MB|s|ms)?(?:[^\]\n=]{0,400}\])?(?=[\s,|\"}]|$)"
    ),
    names={
        "loss": Name("train/loss"),
        "lr": Name("train/learning_rate"),
        "skipped": Name("train/num_skipped_iterations"),
        "iter time (s)": Name("printed/seconds"),
        "samples/sec": Name("perf/samples_per_second"),
        "SamplesPerSec": Name("perf/samples_per_second"),
        "CurrSamplesPerSec": Name("perf/samples_per_second"),
        "RunningAvgSamplesPerSec": Name("perf/mean_samples_per_second"),
        "MemAllocated": Name("perf/memory_gib"),
        "MaxMemAllocated": Name("perf/peak_memory_gib"),
    },
    prefix="deepspeed",
    needles=(b"step=", b"steps:", b"SamplesPerSec"),
    clock=line_clock,
)
_OVERFLOW = re.compile(
    rb"(?:OVERFLOW!?,? (?:Rank (?P<a>\d+) )?|(?:\[Rank (?P<b>\d+)\] )?Overflow detected\. )"
    rb"Skipping step"
)
# Of the engine: `time (ms) | forward: 2034.84 | backward: 5678.12`, as old Megatron-LM prints too.
_TIMES = re.compile(rb"time \(ms\)(?P<fields>(?: \| [\w/ -]{1,60}: \d+\.?\d*)+)")
_TIME = re.compile(rb"\| (?P<name>[\w/ -]{1,60}): (?P<ms>\d+\.?\d*)")


def count_overflows(block: Block) -> int:
    """Return how many steps DeepSpeed says that it skipped; each rank says it of the same step."""
    if b"Skipping step" not in block.text:
        return 0
    ranks = [match["a"] or match["b"] for match in _OVERFLOW.finditer(block.text)]
    return len(ranks) // max(1, len(set(filter(None, ranks))))


def read_times(block: Block, log: Log) -> list[tuple[int, int]]:
    """Read what one rank took for each part of a step, the newest of each; return the spans."""
    spans = []
    for match in _TIMES.finditer(block.text):
        for name, ms in _TIME.findall(match["fields"]):
            log.timers[name.decode().strip()] = (float(ms), float(ms))
        spans.append(match.span())
    return spans


def overflow_note(count: int) -> str:
    """Return what a reader must know of steps that were skipped."""
    return (
        f"{count:,} steps were skipped because the gradients overflowed, as DeepSpeed says; "
        '"skipped iterations" does not count them, and the gradient norm stays at its last value'
    )


class DeepSpeedReader:
    """Reads a log of DeepSpeed's engine block by block into a Log."""

    dialects = (STEP,)
    heads = re.compile(rb"DeepSpeed info: version|DeepSpeedEngine configuration")
    understood = re.compile(rb"SamplesPerSec|DeepSpeed")

    def __init__(self, log: Log):
        self._log, self._rows, self._num_overflows = log, RowsBuilder(), 0

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        self._num_overflows += count_overflows(block)
        return [*read_records(block, STEP, rows=self._rows), *read_times(block, self._log)]

    def finish(self) -> None:
        """Put the columns into the log."""
        self._log.rows = self._rows.finish()
        if self._num_overflows:
            self._log.notes.append(overflow_note(self._num_overflows))
